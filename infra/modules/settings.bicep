// Every setting that shared/settings.py reads. This comes last: each write restarts the host, and a host that restarts may not
// give its keys, which the action group needs.
@description('Name of the app.')
param appName string
@description('Its client id, by which the libraries choose it.')
param identityClientId string
@description('Storage account of the state.')
param stateName string
@description('Storage account of the archive.')
param archiveName string
@description('Where traces go. It opens nothing: local authentication is off there.')
param insightsConnection string
@description('Address of the source.')
param cosmosEndpoint string
@description('Resource id of the source.')
param cosmosAccountId string
@description('Workspace with the RU log (a GUID); empty: none.')
param logWorkspaceId string
@description('Where Log Analytics is asked.')
param logsEndpoint string
@description('The factory; empty: there is none.')
param factoryId string
@description('Whether the function keys can be fetched.')
param fetchFunctionKey bool
@description('When the controller decides.')
param tickSchedule string
@description('When leftovers are swept up.')
param janitorSchedule string
@description('Seconds until a minute of metrics is complete.')
param metricSettleS int
@description('Issuer of the tokens that alerts must bring; empty: the function key is all.')
param alertTokenIssuer string
@description('Audience of those tokens.')
param alertTokenAudience string
@description('Addresses of who is told, as JSON.')
@secure()
param webhooks string

resource app 'Microsoft.Web/sites@2024-11-01' existing = {
  name: appName
}

var settings = {
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AZURE_CLIENT_ID: identityClientId
  PYTHON_ENABLE_OPENTELEMETRY: 'true'
  PYTHON_THREADPOOL_THREAD_COUNT: '8'
  AzureWebJobsStorage__accountName: stateName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  EBB_ARCHIVE_STORAGE: ''
  EBB_ARCHIVE_STORAGE__accountName: archiveName
  EBB_STORAGE_SUFFIX: environment().suffixes.storage
  EBB_COSMOS_ENDPOINT: cosmosEndpoint
  EBB_COSMOS_RESOURCE_ID: cosmosAccountId
  EBB_MANAGEMENT_ENDPOINT: 'https://${split(environment().resourceManager, '/')[2]}'
  EBB_LOG_WORKSPACE_ID: logWorkspaceId
  EBB_LOGS_ENDPOINT: logsEndpoint
  EBB_CA_FILE: ''
  EBB_FACTORY_RESOURCE_ID: factoryId
  EBB_CALLBACK_URL: 'https://${app.properties.defaultHostName}'
  EBB_CALLBACK_KEY: ''
  EBB_CALLBACK_HOSTS: ''
  EBB_ALERT_KEY: ''
  EBB_OPERATOR_KEY: ''
  EBB_ALERT_ISSUER: alertTokenIssuer
  EBB_ALERT_AUDIENCE: alertTokenAudience
  EBB_ALERT_ROLE: 'ActionGroupsSecureWebhook'
  EBB_WEBHOOKS: webhooks
  EBB_WEBHOOK_HOSTS: ''
  EBB_RUNBOOK_URL: 'docs/runbook.md'
  EBB_METRIC_SETTLE_S: string(metricSettleS)
  EBB_SCRATCH_DIR: ''
  EBB_TICK_SCHEDULE: tickSchedule
  EBB_JANITOR_SCHEDULE: janitorSchedule
}

// Written once, by the one or by the other: between two writes the settings would be without the keys, and the host restarts.
resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = if (!fetchFunctionKey) {
  parent: app
  name: 'appsettings'
  properties: settings
}

// The keys exist once the host has started with the settings above, which an earlier deployment wrote.
module callback 'callback.bicep' = if (fetchFunctionKey) {
  name: 'ebb-callback'
  params: {
    appName: app.name
    settings: settings
  }
}
