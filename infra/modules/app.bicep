// The function app on Flex Consumption. Its settings are written last, by settings.bicep: each write restarts the host.
@description('Name of the app.')
param name string
@description('Name of its plan; a Flex Consumption plan holds one app.')
param planName string
@description('Region.')
param location string
@description('Tags.')
param tags object
@description('Resource id of the identity of the app.')
param identityId string
@description('Container with the published package.')
param packageContainerUrl string
@description('Subnet of the app; empty: none.')
param subnetId string
@description('Memory of an instance.')
param instanceMemoryMb int
@description('Instances at most.')
param instancesMax int
@description('Instances for HTTP that never go cold.')
param httpInstances int

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, {
    'azd-service-name': 'api'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      remoteDebuggingEnabled: false
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMb
        maximumInstanceCount: instancesMax
        // Azure starts Python with one request at a time: a slow query of the dashboard would hold up an alert.
        triggers: {
          http: {
            perInstanceConcurrency: 8
          }
        }
        alwaysReady: httpInstances > 0 ? [
          {
            name: 'http'
            instanceCount: httpInstances
          }
        ] : []
      }
    }
  }
}

// Publishing takes an Entra token; the two ways by password are shut.
resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
