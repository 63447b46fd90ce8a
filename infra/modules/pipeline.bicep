// The five parts of infra/adf, word for word; only the two addresses get their defaults, as `ebb adf deploy` gives them.
@description('Name of the factory.')
param factoryName string
@description('Address of the archive.')
param blobEndpoint string
@description('Address of the source.')
param cosmosEndpoint string

var blob = loadJsonContent('../adf/linkedService/ebb_blob.json')
var cosmos = loadJsonContent('../adf/linkedService/ebb_cosmos.json')
var documents = loadJsonContent('../adf/dataset/ebb_documents.json')
var parquet = loadJsonContent('../adf/dataset/ebb_parquet.json')
var copySlice = loadJsonContent('../adf/pipeline/ebb_copy_slice.json')

resource factory 'Microsoft.DataFactory/factories@2018-06-01' existing = {
  name: factoryName
}

resource blobService 'Microsoft.DataFactory/factories/linkedservices@2018-06-01' = {
  parent: factory
  name: blob.name
  properties: union(blob.properties, {
    parameters: {
      serviceEndpoint: {
        defaultValue: blobEndpoint
      }
    }
  })
}

resource cosmosService 'Microsoft.DataFactory/factories/linkedservices@2018-06-01' = {
  parent: factory
  name: cosmos.name
  properties: union(cosmos.properties, {
    parameters: {
      accountEndpoint: {
        defaultValue: cosmosEndpoint
      }
    }
  })
}

resource documentsSet 'Microsoft.DataFactory/factories/datasets@2018-06-01' = {
  parent: factory
  name: documents.name
  properties: documents.properties
  dependsOn: [
    cosmosService
  ]
}

resource parquetSet 'Microsoft.DataFactory/factories/datasets@2018-06-01' = {
  parent: factory
  name: parquet.name
  properties: parquet.properties
  dependsOn: [
    blobService
  ]
}

resource pipeline 'Microsoft.DataFactory/factories/pipelines@2018-06-01' = {
  parent: factory
  name: copySlice.name
  properties: copySlice.properties
  dependsOn: [
    documentsSet
    parquetSet
  ]
}
