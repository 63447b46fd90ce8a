// What is watched from outside, and who is told: the app itself, which makes room, and people.
@description('Unique end of names.')
param suffix string
@description('Region of the log rule; the others are global.')
param location string
@description('Tags.')
param tags object
@description('Name of the app.')
param appName string
@description('Application Insights of the app.')
param insightsId string
@description('Workspace with its traces.')
param workspaceId string
@description('The watched account.')
param cosmosAccountId string
@description('Mail addresses.')
param emails array
@description('Whether the function key can be fetched; otherwise only people are told.')
param fetchFunctionKey bool
@description('Issuer of the tokens that alerts must bring; empty: the function key is all.')
param tokenIssuer string
@description('Application id for which they are asked.')
param tokenAudience string
@description('Object id of that application registration.')
param tokenObjectId string
@description('RU/s the account can do.')
param capacityRuPerS int
@description('Percent of it.')
param ceilingPercent int
@description('429s in five minutes.')
param throttledRequestsMax int

// The key opens the route of alerts and no other: who reads this resource group can read it. The receiver of a function
// brings it alone; the one of a secure webhook a token as well.
var address = 'https://${app.properties.defaultHostName}/api/alerts?code=${listKeys('${app.id}/functions/alerts', '2024-11-01').default}'
var byKey = fetchFunctionKey && empty(tokenIssuer)
var byToken = fetchFunctionKey && !empty(tokenIssuer)
var cosmosNamespace = 'Microsoft.DocumentDB/databaseAccounts'

resource app 'Microsoft.Web/sites@2024-11-01' existing = {
  name: appName
}

// The key is fetched while deploying and stands nowhere but in the receiver. After a rotation: deploy again.
resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-ebb-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'ebb'
    enabled: true
    emailReceivers: [for (address, index) in emails: {
      name: 'mail-${index}'
      emailAddress: address
      useCommonAlertSchema: true
    }]
    azureFunctionReceivers: byKey ? [
      {
        name: 'ebb'
        functionAppResourceId: app.id
        functionName: 'alerts'
        httpTriggerUrl: address
        useCommonAlertSchema: true
      }
    ] : []
    webhookReceivers: byToken ? [
      {
        name: 'ebb'
        serviceUri: address
        useCommonAlertSchema: true
        useAadAuth: true
        objectId: tokenObjectId
        identifierUri: 'api://${tokenAudience}'
        tenantId: split(tokenIssuer, '/')[3]
      }
    ] : []
  }
}

resource requestUnits 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'ebb-request-units-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Business and Ebb together used more than the ceiling for a minute.'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [
      cosmosAccountId
    ]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT1M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'total'
          metricNamespace: cosmosNamespace
          metricName: 'TotalRequestUnits'
          operator: 'GreaterThan'
          threshold: capacityRuPerS * 60 * ceilingPercent / 100
          timeAggregation: 'Total'
        }
      ]
    }
    actions: [
      {
        actionGroupId: group.id
      }
    ]
  }
}

// Its highest second counts, so it must lie above the ceiling for five minutes. A serverless account may
// not have this metric: then the rule is made without asking for it, and stays silent.
resource fullPartition 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'ebb-full-partition-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'The busiest partition was above the ceiling on average for five minutes.'
    severity: 3
    enabled: true
    autoMitigate: true
    scopes: [
      cosmosAccountId
    ]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'normalised'
          metricNamespace: cosmosNamespace
          metricName: 'NormalizedRUConsumption'
          operator: 'GreaterThan'
          threshold: ceilingPercent
          timeAggregation: 'Average'
          skipMetricValidation: true
        }
      ]
    }
    actions: [
      {
        actionGroupId: group.id
      }
    ]
  }
}

resource throttled 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'ebb-throttled-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Requests to the account were answered 429.'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [
      cosmosAccountId
    ]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'refused'
          metricNamespace: cosmosNamespace
          metricName: 'TotalRequests'
          dimensions: [
            {
              name: 'StatusCode'
              operator: 'Include'
              values: [
                '429'
              ]
            }
          ]
          operator: 'GreaterThanOrEqual'
          threshold: throttledRequestsMax
          timeAggregation: 'Count'
        }
      ]
    }
    actions: [
      {
        actionGroupId: group.id
      }
    ]
  }
}

resource failures 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'ebb-failures-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Functions of Ebb failed. Expected failures are recorded in the ledger and end well; these are others.'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [
      insightsId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'failed'
          metricNamespace: 'microsoft.insights/components'
          metricName: 'requests/failed'
          operator: 'GreaterThan'
          threshold: 5
          timeAggregation: 'Count'
          skipMetricValidation: true
        }
      ]
    }
    actions: [
      {
        actionGroupId: group.id
      }
    ]
  }
}

// A log rule, because a metric that is silent fires nothing: this query always answers with one number.
resource heartbeat 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'ebb-heartbeat-${suffix}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'ebb-heartbeat-${suffix}'
    description: 'The controller has not decided for fifteen minutes. Ebb spends nothing meanwhile, and moves nothing.'
    severity: 1
    // Before the first publishing nothing can decide: the rule would only wake people.
    enabled: fetchFunctionKey
    autoMitigate: true
    skipQueryValidation: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: 'AppRequests | where Name == "tick" and Success == true and AppRoleName =~ "${appName}" | summarize Ticks = count()'
          timeAggregation: 'Total'
          metricMeasureColumn: 'Ticks'
          operator: 'LessThan'
          threshold: 1
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        group.id
      ]
    }
  }
}
