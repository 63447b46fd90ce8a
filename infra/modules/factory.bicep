// The Data Factory of specs with `engine: adf`, and who may order its runs.
@description('Name of the factory.')
param name string
@description('Region.')
param location string
@description('Tags.')
param tags object
@description('Who runs the app.')
param appPrincipalId string

var factoryContributor = '673868aa-7521-48a0-acc6-0f60742d39f5'

resource factory 'Microsoft.DataFactory/factories@2018-06-01' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    publicNetworkAccess: 'Enabled'
  }
}

// Starting, listing and cancelling runs, and `ebb adf deploy`; on this factory and on no other.
resource order 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(factory.id, appPrincipalId, factoryContributor)
  scope: factory
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', factoryContributor)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

output id string = factory.id
output name string = factory.name
output principalId string = factory.identity.principalId
