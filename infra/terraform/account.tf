# What Ebb needs on the business's Cosmos DB account: data-plane roles, its metrics, its RU log. Nothing else of it changes.
# The account must lie in the subscription of this deployment. It is named and not asked about: azurerm would keep its keys.
locals {
  account_id      = "/subscriptions/${local.account[2]}/resourceGroups/${local.account[4]}/providers/Microsoft.DocumentDB/databaseAccounts/${local.account[8]}"
  cosmos_endpoint = "https://${local.account[8]}.documents.azure.com:443/"

  # Cosmos DB's own two data roles.
  data_reader      = "00000000-0000-0000-0000-000000000001"
  data_contributor = "00000000-0000-0000-0000-000000000002"

  app_data_role = var.enable_retire ? local.data_contributor : local.data_reader
  role_scopes   = var.assign_account_roles ? toset(var.cosmos_scopes) : toset([])

  # Data Factory reads the metadata of the database first: a scope below that is answered 403 for each run.
  factory_scopes = toset([for path in local.role_scopes : path == "/" ? path : join("/", slice(split("/", path), 0, 3))])
}

# Reading documents; writing only where retiring is allowed.
resource "azurerm_cosmosdb_sql_role_assignment" "app" {
  for_each            = local.role_scopes
  account_name        = local.account[8]
  resource_group_name = local.account[4]
  role_definition_id  = "${local.account_id}/sqlRoleDefinitions/${local.app_data_role}"
  principal_id        = azurerm_user_assigned_identity.app.principal_id
  scope               = each.value == "/" ? local.account_id : "${local.account_id}${each.value}"

  # Cosmos DB must have heard of an identity that was just made.
  depends_on = [azurerm_application_insights.ebb, azurerm_role_assignment.state_blob]
}

# The factory's Copy reads slices; it never writes to the account.
resource "azurerm_cosmosdb_sql_role_assignment" "factory" {
  for_each            = var.deploy_factory ? local.factory_scopes : toset([])
  account_name        = local.account[8]
  resource_group_name = local.account[4]
  role_definition_id  = "${local.account_id}/sqlRoleDefinitions/${local.data_reader}"
  principal_id        = azurerm_data_factory.ebb[0].identity[0].principal_id
  scope               = each.value == "/" ? local.account_id : "${local.account_id}${each.value}"

  # Cosmos DB must have heard of an identity that was just made.
  depends_on = [azurerm_application_insights.ebb, azurerm_role_assignment.state_blob]
}

# What the business uses is read from this account's metrics, each tick.
resource "azurerm_role_assignment" "metrics" {
  count                = var.assign_account_roles ? 1 : 0
  scope                = local.account_id
  role_definition_name = "Monitoring Reader"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
  principal_type       = "ServicePrincipal"
}

# One category of log and no metric. Dedicated tables: CDBPartitionKeyRUConsumption exists in that mode only.
resource "azurerm_monitor_diagnostic_setting" "account" {
  count                          = var.enable_account_diagnostics ? 1 : 0
  name                           = "ebb-${local.suffix}"
  target_resource_id             = local.account_id
  log_analytics_workspace_id     = azurerm_log_analytics_workspace.ebb.id
  log_analytics_destination_type = "Dedicated"

  enabled_log {
    category = "PartitionKeyRUConsumption"
  }
}
