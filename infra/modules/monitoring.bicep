// Where logs and traces go, and the workbook that shows them. Who writes proves an identity; keys open nothing.
@description('Name of the workspace.')
param workspaceName string
@description('Name of Application Insights.')
param insightsName string
@description('Region.')
param location string
@description('Tags.')
param tags object
@description('Days for which logs are kept.')
param retentionDays int
@description('Who runs the app.')
param appPrincipalId string
@description('Whether the app reads the RU log of the account here.')
param readAccountLogs bool
@description('The account whose metrics the workbook shows.')
param cosmosAccountId string

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'
var logReader = '73c42c96-874c-492b-b04d-ab87d138a893'
var workbookText = replace(replace(loadTextContent('../workbook.json'), '__WORKSPACE__', workspace.id), '__ACCOUNT__', cosmosAccountId)

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionDays
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: insightsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
    RetentionInDays: retentionDays
  }
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'ebb-workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Ebb'
    category: 'workbook'
    sourceId: insights.id
    serializedData: workbookText
  }
}

// The Functions host sends traces with the app's identity: the connection string alone is refused.
resource publish 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, appPrincipalId, metricsPublisher)
  scope: insights
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Habits: what each hour of the week is used to, from the account's RU log, once in six hours.
resource read 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (readAccountLogs) {
  name: guid(workspace.id, appPrincipalId, logReader)
  scope: workspace
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', logReader)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

output workspaceId string = workspace.id
output workspaceCustomerId string = workspace.properties.customerId
output insightsId string = insights.id
output insightsConnection string = insights.properties.ConnectionString
