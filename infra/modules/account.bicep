// What Ebb needs on the business's Cosmos DB account: data-plane roles, its metrics, its RU log. Nothing else of it changes.
@description('Name of the existing account.')
param accountName string
@description('Which parts of it may be read, as paths below it.')
param scopes array
@description('Whether to give roles.')
param assignRoles bool
@description('Whether the app may write.')
param enableRetire bool
@description('Who runs the app.')
param appPrincipalId string
@description('Who runs the factory; empty: there is none.')
param factoryPrincipalId string
@description('Name of the diagnostic setting; empty: make none.')
param diagnosticsName string
@description('Workspace that receives the log.')
param workspaceId string

// Cosmos DB's own two data roles, and one of Azure's.
var dataReader = '00000000-0000-0000-0000-000000000001'
var dataContributor = '00000000-0000-0000-0000-000000000002'
var monitoringReader = '43d0d8ad-25c7-4714-9337-8ba259a9fe05'

var databases = [for path in scopes: path == '/' ? path : join(take(split(path, '/'), 3), '/')]

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' existing = {
  name: accountName
}

// Reading documents; writing only where retiring is allowed. One after the other, as the account takes them. The name says nothing of which of the two,
// so that turning enableRetire off takes the greater role away instead of leaving it beside the smaller.
@batchSize(1)
resource appData 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-04-15' = [for path in scopes: if (assignRoles) {
  parent: account
  name: guid(account.id, appPrincipalId, path)
  properties: {
    roleDefinitionId: '${account.id}/sqlRoleDefinitions/${enableRetire ? dataContributor : dataReader}'
    principalId: appPrincipalId
    scope: path == '/' ? account.id : '${account.id}${path}'
  }
}]

// The factory's Copy reads slices; it never writes to the account. It reads the metadata of the database first, so a scope
// below that is answered 403 for each run: the container's database is its scope.
@batchSize(1)
resource factoryData 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-04-15' = [for path in union(databases, []): if (assignRoles && !empty(factoryPrincipalId)) {
  parent: account
  name: guid(account.id, factoryPrincipalId, path)
  dependsOn: [
    appData
  ]
  properties: {
    roleDefinitionId: '${account.id}/sqlRoleDefinitions/${dataReader}'
    principalId: factoryPrincipalId
    scope: path == '/' ? account.id : '${account.id}${path}'
  }
}]

// What the business uses is read from this account's metrics, each tick.
resource metrics 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (assignRoles) {
  name: guid(account.id, appPrincipalId, monitoringReader)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringReader)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// One category of log and no metric. Dedicated tables: CDBPartitionKeyRUConsumption exists in that mode only.
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(diagnosticsName)) {
  name: empty(diagnosticsName) ? 'none' : diagnosticsName
  scope: account
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      {
        category: 'PartitionKeyRUConsumption'
        enabled: true
      }
    ]
  }
}
