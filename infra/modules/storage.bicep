// Two storage accounts: the app's state, and the archive. Apart, because only the archive may keep versions,
// be cooled down or be held for years, and because the factory has no business with the state.
@description('Name of the account with queues, ledger, lease and the published package.')
param stateName string
@description('Name of the archive account.')
param archiveName string
@description('Region.')
param location string
@description('Tags.')
param tags object
@description('Copies of both.')
param redundancy string
@description('Containers of the archive.')
param archiveContainers array
@description('Where slices are staged: container and prefix.')
param stagingPrefixes array
@description('Days until the cool tier.')
param coolAfterDays int
@description('Days until the cold tier.')
param coldAfterDays int
@description('Days for which what was deleted can be brought back.')
param keepDeletedDays int
@description('Whether single blobs can be held.')
param archiveImmutability bool
@description('Whether only private endpoints lead here.')
param closed bool
@description('Whether a Data Factory writes into the archive; closed or not, it comes as a trusted service.')
param factoryReaches bool
@description('Who runs the app.')
param appPrincipalId string
@description('Who runs the factory; empty: there is none.')
param factoryPrincipalId string

var packageContainer = 'app-package'

var roles = {
  blobOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  blobContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  queueContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  tableContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}

resource state 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: stateName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: redundancy
  }
  properties: {
    accessTier: 'Hot'
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: closed ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
    }
  }
}

resource stateBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: state
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource package 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: stateBlobs
  name: packageContainer
  properties: {
    publicAccess: 'None'
  }
}

resource archive 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: archiveName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: redundancy
  }
  properties: {
    accessTier: 'Hot'
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: closed && !factoryReaches ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: closed ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
    }
  }
}

resource archiveBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: archive
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: {
      enabled: true
      days: keepDeletedDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: keepDeletedDays
    }
  }
}

// No policy of its own on the container: Ebb deletes what lies under staging/ once it is proven.
resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = [for name in archiveContainers: {
  parent: archiveBlobs
  name: name
  properties: {
    publicAccess: 'None'
    immutableStorageWithVersioning: archiveImmutability ? {
      enabled: true
    } : null
  }
}]

// Online tiers only: a proof must be able to read every blob at once. Versions are what staging leaves behind.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = {
  parent: archive
  name: 'default'
  dependsOn: [
    archiveBlobs
  ]
  properties: {
    policy: {
      rules: [
        {
          name: 'archive-gets-cheaper'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
            }
            actions: {
              baseBlob: {
                tierToCool: {
                  daysAfterModificationGreaterThan: coolAfterDays
                }
                tierToCold: {
                  daysAfterModificationGreaterThan: coldAfterDays
                }
              }
              version: {
                delete: {
                  daysAfterCreationGreaterThan: keepDeletedDays
                }
              }
            }
          }
        }
        // What was staged is promoted or deleted within hours, and nobody wants its versions back.
        {
          name: 'staging-is-forgotten'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: stagingPrefixes
            }
            actions: {
              version: {
                delete: {
                  daysAfterCreationGreaterThan: 1
                }
              }
            }
          }
        }
      ]
    }
  }
}

// The Functions host makes containers, leases and its keys here, and the published package is read from here.
resource stateBlobRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(state.id, appPrincipalId, roles.blobOwner)
  scope: state
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobOwner)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Queue triggers take, hide and delete messages, and make the poison queues; Ebb sends.
resource stateQueueRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(state.id, appPrincipalId, roles.queueContributor)
  scope: state
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.queueContributor)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// The ledger, the board, the journal, the metering and the memories are tables that Ebb makes and writes.
resource stateTableRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(state.id, appPrincipalId, roles.tableContributor)
  scope: state
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.tableContributor)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Slices are staged, promoted and read back; in these containers and in no other of the account.
resource archiveRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in archiveContainers: {
  name: guid(archive.id, name, appPrincipalId, roles.blobContributor)
  scope: containers[index]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

// A run writes its file under incoming/; Ebb compares it before anything of it counts.
resource factoryRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in archiveContainers: if (factoryReaches) {
  name: guid(archive.id, name, factoryPrincipalId, roles.blobContributor)
  scope: containers[index]
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
    principalId: factoryPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

output stateId string = state.id
output stateName string = state.name
output archiveId string = archive.id
output archiveName string = archive.name
output archiveBlobEndpoint string = archive.properties.primaryEndpoints.blob
output packageContainerUrl string = '${state.properties.primaryEndpoints.blob}${packageContainer}'
