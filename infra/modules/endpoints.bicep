// Private endpoints of both storage accounts, and of the Cosmos DB account where that is wanted.
@description('Region.')
param location string
@description('Tags.')
param tags object
@description('Unique end of names.')
param suffix string
@description('Subnet of the endpoints.')
param subnetId string
@description('Storage account of the state.')
param stateId string
@description('Storage account of the archive.')
param archiveId string
@description('The Cosmos DB account; empty: no endpoint.')
param cosmosAccountId string
@description('Zone of blob addresses.')
param blobZoneId string
@description('Zone of queue addresses.')
param queueZoneId string
@description('Zone of table addresses.')
param tableZoneId string
@description('Zone of Cosmos DB addresses; empty without its endpoint.')
param cosmosZoneId string

var ours = [
  {
    name: 'state-blob'
    target: stateId
    part: 'blob'
    zone: blobZoneId
  }
  {
    name: 'state-queue'
    target: stateId
    part: 'queue'
    zone: queueZoneId
  }
  {
    name: 'state-table'
    target: stateId
    part: 'table'
    zone: tableZoneId
  }
  {
    name: 'archive-blob'
    target: archiveId
    part: 'blob'
    zone: blobZoneId
  }
]
var theirs = [
  {
    name: 'cosmos'
    target: cosmosAccountId
    part: 'Sql'
    zone: cosmosZoneId
  }
]
var all = empty(cosmosAccountId) ? ours : concat(ours, theirs)

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [for each in all: {
  name: 'pe-${each.name}-${suffix}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: each.name
        properties: {
          privateLinkServiceId: each.target
          groupIds: [
            each.part
          ]
        }
      }
    ]
  }
}]

resource zones 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [for (each, index) in all: {
  parent: endpoints[index]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: each.part
        properties: {
          privateDnsZoneId: each.zone
        }
      }
    ]
  }
}]
