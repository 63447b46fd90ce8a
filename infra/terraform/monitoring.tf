# Where logs and traces go, and the workbook that shows them. Who writes proves an identity; keys open nothing.
resource "azurerm_log_analytics_workspace" "ebb" {
  name                         = "log-ebb-${local.suffix}"
  resource_group_name          = azurerm_resource_group.ebb.name
  location                     = azurerm_resource_group.ebb.location
  tags                         = local.tags
  sku                          = "PerGB2018"
  retention_in_days            = var.log_retention_days
  local_authentication_enabled = false
}

resource "azurerm_application_insights" "ebb" {
  name                          = "appi-ebb-${local.suffix}"
  resource_group_name           = azurerm_resource_group.ebb.name
  location                      = azurerm_resource_group.ebb.location
  tags                          = local.tags
  application_type              = "web"
  workspace_id                  = azurerm_log_analytics_workspace.ebb.id
  local_authentication_disabled = true
}

resource "azurerm_application_insights_workbook" "ebb" {
  name                = uuidv5("url", "${azurerm_resource_group.ebb.id}/ebb-workbook")
  resource_group_name = azurerm_resource_group.ebb.name
  location            = azurerm_resource_group.ebb.location
  tags                = local.tags
  display_name        = "Ebb"
  source_id           = lower(azurerm_application_insights.ebb.id)
  data_json = replace(
    replace(file("${path.module}/../workbook.json"), "__WORKSPACE__", azurerm_log_analytics_workspace.ebb.id),
    "__ACCOUNT__", var.cosmos_account_id,
  )
}

# The Functions host sends traces with the app's identity: the connection string alone is refused.
resource "azurerm_role_assignment" "publish" {
  scope                = azurerm_application_insights.ebb.id
  role_definition_name = "Monitoring Metrics Publisher"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
  principal_type       = "ServicePrincipal"
}

# Habits: what each hour of the week is used to, from the account's RU log, once in six hours.
resource "azurerm_role_assignment" "habits" {
  count                = var.enable_account_diagnostics ? 1 : 0
  scope                = azurerm_log_analytics_workspace.ebb.id
  role_definition_name = "Log Analytics Reader"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
  principal_type       = "ServicePrincipal"
}
