// One whole Ebb beside one existing Cosmos DB account: its own resource group, its identity, its roles.
// Of the business's it touches the account's role assignments and diagnostic settings, and both can be left out.
targetScope = 'subscription'

@minLength(1)
@maxLength(32)
@description('Name of this deployment. Another name is another Ebb beside this one, with nothing in common.')
param environmentName string

@minLength(1)
@description('Azure region. The region of the Cosmos DB account is the best: data that leaves a region costs money and time.')
param location string

@description('Resource id of the existing Cosmos DB for NoSQL account: /subscriptions/…/resourceGroups/…/providers/Microsoft.DocumentDB/databaseAccounts/NAME')
param cosmosAccountId string

@minLength(1)
@description('Which parts of the account may be read, as paths below it: "/", "/dbs/NAME", "/dbs/NAME/colls/NAME".')
param cosmosScopes array = [
  '/'
]

@description('Whether Ebb may write to the account, for specs that retire. Off, its identity cannot change a document, whatever a spec says. On, it could change any within cosmosScopes: name there only what migrations retire from.')
param enableRetire bool = false

@description('Whether to give roles on the account. Off, somebody else must: docs/deploy.md lists them.')
param assignAccountRoles bool = true

@description('Whether the account sends its RU per partition to the workspace of Ebb, which learns from it what each hour is used to. It costs the ingestion of one row per second and used partition key.')
param enableAccountDiagnostics bool = true

@description('Blob containers that specs name as their sink. The app may write to these and to no other.')
@minLength(1)
param archiveContainers array = [
  'archive'
]

@description('Values of sink.prefix in specs, without a slash at the end. What is staged below them loses its old versions after a day instead of keepDeletedDays; so it does without a prefix.')
@maxLength(9)
param sinkPrefixes array = []

@description('Copies of archive and state. Standard_ZRS survives the loss of a datacentre; regions without zones need Standard_LRS or Standard_GRS.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_RAGRS'
  'Standard_GZRS'
  'Standard_RAGZRS'
])
param redundancy string = 'Standard_ZRS'

@description('Days after which an archived blob moves to the cool tier; it is read as fast from there.')
@minValue(0)
param coolAfterDays int = 30

@description('Days after which it moves to the cold tier. Must be more than coolAfterDays.')
@minValue(1)
param coldAfterDays int = 90

@description('Days for which a deleted or replaced blob, and a deleted container, can be brought back.')
@minValue(1)
@maxValue(365)
param keepDeletedDays int = 30

@description('Whether retention policies and legal holds can be set on single archived blobs. Only at the first deployment: Azure takes it for a new container alone, and never takes it off again.')
param archiveImmutability bool = false

@description('Whether to make a Data Factory for specs with "engine: adf".')
param deployFactory bool = false

@description('Whether storage is reached through private endpoints only, and the app stands in a network of its own.')
param privateNetworking bool = false

@description('With privateNetworking: whether the account gets a private endpoint from that network, too. This adds a connection to the account, which its owner sees.')
param connectAccountPrivately bool = false

@description('With privateNetworking: the addresses of that network.')
param networkPrefix string = '10.83.0.0/24'

@description('With privateNetworking: those that the instances of the app share, at least a /27.')
param appSubnetPrefix string = '10.83.0.0/26'

@description('With privateNetworking: those of the private endpoints.')
param endpointsSubnetPrefix string = '10.83.0.64/26'

@description('Whether to watch the account and the app, and tell the app and the people below.')
param enableAlerts bool = true

@description('Who gets a mail when an alert fires or the budget is nearly spent.')
param alertEmails array = []

@description('Request units per second that the account can do: for serverless 5,000 for a container of up to five physical partitions, and 1,000 more for each further one.')
@minValue(100)
param accountCapacityRuPerS int = 5000

@description('Percent of that capacity above which an alert fires.')
@minValue(10)
@maxValue(100)
param ceilingPercent int = 80

@description('Throttled requests (429) in five minutes from which an alert fires.')
@minValue(1)
param throttledRequestsMax int = 100

@description('What the resource group of Ebb may cost a month, in the currency of the bill; 0 makes no budget. The account and its request units are not in it.')
@minValue(0)
param monthlyBudget int = 50

@description('First day of a month (2026-01-01) from which the budget counts. Azure refuses to move it later: keep the first value, which is an output; empty the first time.')
param budgetStartDate string = ''

@description('Leave it: the first day of the month in which this is deployed.')
param thisMonth string = utcNow('yyyy-MM-01')

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Address at which Log Analytics is asked; another one in national clouds.')
param logsEndpoint string = 'https://api.loganalytics.io'

@description('Memory of an instance of the app.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMb int = 2048

@description('Instances at most. More of them copy no faster: the budget is shared by seats, not by instances.')
@minValue(40)
@maxValue(1000)
param instancesMax int = 40

@description('Instances that wait for HTTP calls and never go cold: a cold one takes seconds, and an action group waits for ten. One of 2 GB costs about 21 USD a month; 0 makes the first alert after a pause wait for a cold start.')
@minValue(0)
@maxValue(20)
param httpInstances int = 1

@description('When the controller decides (NCRONTAB with seconds).')
param tickSchedule string = '*/30 * * * * *'

@description('When leftovers are swept up (NCRONTAB with seconds).')
param janitorSchedule string = '0 */10 * * * *'

@description('Seconds after its end until a minute of Azure Monitor is taken as complete.')
@minValue(0)
@maxValue(180)
param metricSettleS int = 60

@description('Issuer of the Entra tokens that alerts must bring, https://login.microsoftonline.com/TENANT/v2.0; empty: the function key is all that is asked.')
param alertTokenIssuer string = ''

@description('Audience of those tokens: the application id that the secure webhook asks them for. Needed with an issuer.')
param alertTokenAudience string = ''

@description('Object id of that application registration. Needed with an issuer.')
param alertTokenObjectId string = ''

@description('Who is told of halts and completions: JSON, from names that specs use to addresses. Addresses may carry keys of their own, so it is handed over as a secret.')
@secure()
param webhooks string = ''

@description('Whether to fetch the function keys with which alerts and the factory call the app, one of a single function each. Azure has none before there is code: deploy, publish, then deploy again with true. `azd up` does it so by itself.')
param fetchFunctionKey bool = false

var account = split(cosmosAccountId, '/')
// A rule takes ten prefixes: those of the first container are named.
var stagingPrefixes = [for prefix in concat([''], sinkPrefixes): '${archiveContainers[0]}/${empty(prefix) ? '' : '${prefix}/'}staging/']
var budgetFrom = empty(budgetStartDate) ? thisMonth : budgetStartDate
var suffix = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2024-11-01' = {
  name: 'rg-ebb-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'ebb-identity'
  scope: group
  params: {
    name: 'id-ebb-${suffix}'
    location: location
    tags: tags
  }
}

module network 'modules/network.bicep' = if (privateNetworking) {
  name: 'ebb-network'
  scope: group
  params: {
    name: 'vnet-ebb-${suffix}'
    location: location
    tags: tags
    prefix: networkPrefix
    appPrefix: appSubnetPrefix
    endpointsPrefix: endpointsSubnetPrefix
  }
}

module dns 'modules/dns.json' = if (privateNetworking) {
  name: 'ebb-dns'
  scope: group
  params: {
    networkId: privateNetworking ? network!.outputs.id : ''
    storageSuffix: environment().suffixes.storage
    withCosmos: connectAccountPrivately
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  name: 'ebb-storage'
  scope: group
  params: {
    stateName: 'stebbs${suffix}'
    archiveName: 'stebba${suffix}'
    location: location
    tags: tags
    redundancy: redundancy
    archiveContainers: archiveContainers
    stagingPrefixes: stagingPrefixes
    coolAfterDays: coolAfterDays
    coldAfterDays: coldAfterDays
    keepDeletedDays: keepDeletedDays
    archiveImmutability: archiveImmutability
    closed: privateNetworking
    factoryReaches: deployFactory
    appPrincipalId: identity.outputs.principalId
    factoryPrincipalId: deployFactory ? factory!.outputs.principalId : ''
  }
}

// After the roles: the account takes one change at a time.
module endpoints 'modules/endpoints.bicep' = if (privateNetworking) {
  name: 'ebb-endpoints'
  scope: group
  dependsOn: [
    cosmos
  ]
  params: {
    location: location
    tags: tags
    suffix: suffix
    subnetId: privateNetworking ? network!.outputs.endpointsSubnetId : ''
    stateId: storage.outputs.stateId
    archiveId: storage.outputs.archiveId
    cosmosAccountId: connectAccountPrivately ? cosmosAccountId : ''
    blobZoneId: privateNetworking ? dns!.outputs.blobZoneId : ''
    queueZoneId: privateNetworking ? dns!.outputs.queueZoneId : ''
    tableZoneId: privateNetworking ? dns!.outputs.tableZoneId : ''
    cosmosZoneId: privateNetworking ? dns!.outputs.cosmosZoneId : ''
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'ebb-monitoring'
  scope: group
  params: {
    workspaceName: 'log-ebb-${suffix}'
    insightsName: 'appi-ebb-${suffix}'
    location: location
    tags: tags
    retentionDays: logRetentionDays
    appPrincipalId: identity.outputs.principalId
    readAccountLogs: enableAccountDiagnostics
    cosmosAccountId: cosmosAccountId
  }
}

resource source 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' existing = {
  name: account[8]
  scope: resourceGroup(account[2], account[4])
}

// A deployment of its own in the account's resource group, made only where something is to be changed there.
module cosmos 'modules/account.bicep' = if (assignAccountRoles || enableAccountDiagnostics) {
  name: 'ebb-account-${suffix}'
  scope: resourceGroup(account[2], account[4])
  params: {
    accountName: account[8]
    scopes: cosmosScopes
    assignRoles: assignAccountRoles
    enableRetire: enableRetire
    appPrincipalId: identity.outputs.principalId
    factoryPrincipalId: deployFactory ? factory!.outputs.principalId : ''
    diagnosticsName: enableAccountDiagnostics ? 'ebb-${suffix}' : ''
    workspaceId: monitoring.outputs.workspaceId
  }
}

module factory 'modules/factory.bicep' = if (deployFactory) {
  name: 'ebb-factory'
  scope: group
  params: {
    name: 'adf-ebb-${suffix}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
  }
}

module pipeline 'modules/pipeline.bicep' = if (deployFactory) {
  name: 'ebb-pipeline'
  scope: group
  params: {
    factoryName: deployFactory ? factory!.outputs.name : ''
    blobEndpoint: storage.outputs.archiveBlobEndpoint
    cosmosEndpoint: source.properties.documentEndpoint
  }
}

module app 'modules/app.bicep' = {
  name: 'ebb-app'
  scope: group
  dependsOn: [
    endpoints
  ]
  params: {
    name: 'func-ebb-${suffix}'
    planName: 'plan-ebb-${suffix}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    packageContainerUrl: storage.outputs.packageContainerUrl
    subnetId: privateNetworking ? network!.outputs.appSubnetId : ''
    instanceMemoryMb: instanceMemoryMb
    instancesMax: instancesMax
    httpInstances: httpInstances
  }
}

module alerts 'modules/alerts.bicep' = if (enableAlerts) {
  name: 'ebb-alerts'
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    appName: app.outputs.name
    insightsId: monitoring.outputs.insightsId
    workspaceId: monitoring.outputs.workspaceId
    cosmosAccountId: cosmosAccountId
    emails: alertEmails
    fetchFunctionKey: fetchFunctionKey
    tokenIssuer: alertTokenIssuer
    tokenAudience: alertTokenAudience
    tokenObjectId: alertTokenObjectId
    capacityRuPerS: accountCapacityRuPerS
    ceilingPercent: ceilingPercent
    throttledRequestsMax: throttledRequestsMax
  }
}

// After the alerts, which ask the running host for a key: writing settings restarts it.
module settings 'modules/settings.bicep' = {
  name: 'ebb-settings'
  scope: group
  dependsOn: [
    alerts
  ]
  params: {
    appName: app.outputs.name
    identityClientId: identity.outputs.clientId
    stateName: storage.outputs.stateName
    archiveName: storage.outputs.archiveName
    insightsConnection: monitoring.outputs.insightsConnection
    cosmosEndpoint: source.properties.documentEndpoint
    cosmosAccountId: cosmosAccountId
    logWorkspaceId: enableAccountDiagnostics ? monitoring.outputs.workspaceCustomerId : ''
    logsEndpoint: logsEndpoint
    factoryId: deployFactory ? factory!.outputs.id : ''
    fetchFunctionKey: fetchFunctionKey
    tickSchedule: tickSchedule
    janitorSchedule: janitorSchedule
    metricSettleS: metricSettleS
    alertTokenIssuer: alertTokenIssuer
    alertTokenAudience: alertTokenAudience
    webhooks: webhooks
  }
}

module budget 'modules/budget.bicep' = if (monthlyBudget > 0) {
  name: 'ebb-budget'
  scope: group
  params: {
    amount: monthlyBudget
    startDate: budgetFrom
    emails: alertEmails
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_LOCATION string = location
output EBB_APP_NAME string = app.outputs.name
output EBB_URL string = app.outputs.url
output EBB_PRINCIPAL_ID string = identity.outputs.principalId
output EBB_STATE_ACCOUNT string = storage.outputs.stateName
output EBB_ARCHIVE_ACCOUNT string = storage.outputs.archiveName
output EBB_COSMOS_ENDPOINT string = source.properties.documentEndpoint
output EBB_LOG_WORKSPACE_ID string = monitoring.outputs.workspaceCustomerId
output EBB_FACTORY_NAME string = deployFactory ? factory!.outputs.name : ''
output EBB_FACTORY_PRINCIPAL_ID string = deployFactory ? factory!.outputs.principalId : ''
// Groups that own the resource group get no mail from a budget: only people who own it themselves do.
output EBB_MAILS_GO_TO string = empty(alertEmails) ? 'people who own the resource group themselves, from the budget only: set alertEmails' : 'alertEmails'
output EBB_BUDGET_START_DATE string = budgetFrom
