# The Data Factory of specs with `engine: adf`: its five parts are those of infra/adf, word for word, with the two addresses
# as defaults. They and the function key go through ARM, because azurerm knows only pipeline parameters of type String,
# and because a key that ARM fetches itself stands in no plan.
locals {
  adf     = "${path.module}/../adf"
  blob    = jsondecode(file("${local.adf}/linkedService/ebb_blob.json"))
  cosmos  = jsondecode(file("${local.adf}/linkedService/ebb_cosmos.json"))
  sets    = [for name in ["ebb_documents", "ebb_parquet"] : jsondecode(file("${local.adf}/dataset/${name}.json"))]
  copying = jsondecode(file("${local.adf}/pipeline/ebb_copy_slice.json"))

  services = [
    merge(local.blob, { properties = merge(local.blob.properties, {
      parameters = merge(local.blob.properties.parameters, {
        serviceEndpoint = { type = "String", defaultValue = azurerm_storage_account.archive.primary_blob_endpoint }
      })
    }) }),
    merge(local.cosmos, { properties = merge(local.cosmos.properties, {
      parameters = merge(local.cosmos.properties.parameters, {
        accountEndpoint = { type = "String", defaultValue = local.cosmos_endpoint }
      })
    }) }),
  ]

  # Each kind names what came before it.
  factory_parts = concat(
    [for part in local.services : merge(part, { kind = "linkedservices", after = [] })],
    [for part in local.sets : merge(part, { kind = "datasets", after = [for each in local.services : ["linkedservices", each.name]] })],
    [merge(local.copying, { kind = "pipelines", after = [for each in local.sets : ["datasets", each.name]] })],
  )
}

resource "azurerm_data_factory" "ebb" {
  count               = var.deploy_factory ? 1 : 0
  name                = "adf-ebb-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  location            = azurerm_resource_group.ebb.location
  tags                = local.tags

  identity {
    type = "SystemAssigned"
  }
}

# Starting, listing and cancelling runs, and `ebb adf deploy`; on this factory and on no other.
resource "azurerm_role_assignment" "order" {
  count                = var.deploy_factory ? 1 : 0
  scope                = azurerm_data_factory.ebb[0].id
  role_definition_name = "Data Factory Contributor"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_resource_group_template_deployment" "pipeline" {
  count               = var.deploy_factory ? 1 : 0
  name                = "ebb-pipeline"
  resource_group_name = azurerm_resource_group.ebb.name
  deployment_mode     = "Incremental"

  template_content = jsonencode({
    "$schema"      = local.arm_schema
    contentVersion = "1.0.0.0"
    resources = [for part in local.factory_parts : {
      type       = "Microsoft.DataFactory/factories/${part.kind}"
      apiVersion = "2018-06-01"
      name       = "${azurerm_data_factory.ebb[0].name}/${part.name}"
      properties = part.properties
      dependsOn = [for each in part.after :
        "[resourceId('Microsoft.DataFactory/factories/${each[0]}', '${azurerm_data_factory.ebb[0].name}', '${each[1]}')]"
      ]
    }]
  })
}
