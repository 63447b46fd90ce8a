# What the terminal, the workflow and people need to know afterwards. None of it is secret.
output "azure_resource_group" {
  description = "Resource group of this Ebb."
  value       = azurerm_resource_group.ebb.name
}

output "azure_location" {
  description = "Its region."
  value       = var.location
}

output "ebb_app_name" {
  description = "Name of the function app."
  value       = azurerm_function_app_flex_consumption.ebb.name
}

output "ebb_url" {
  description = "What the terminal takes as --url."
  value       = "https://${azurerm_function_app_flex_consumption.ebb.default_hostname}"
}

output "ebb_principal_id" {
  description = "Who the app is, for roles that are given by hand."
  value       = azurerm_user_assigned_identity.app.principal_id
}

output "ebb_state_account" {
  description = "Storage account of ledger, queues and lease."
  value       = azurerm_storage_account.state.name
}

output "ebb_archive_account" {
  description = "Storage account of the archive."
  value       = azurerm_storage_account.archive.name
}

output "ebb_cosmos_endpoint" {
  description = "Address of the source."
  value       = local.cosmos_endpoint
}

output "ebb_log_workspace_id" {
  description = "Workspace (a GUID) with logs and traces."
  value       = azurerm_log_analytics_workspace.ebb.workspace_id
}

output "ebb_factory_name" {
  description = "Name of the factory; empty: there is none."
  value       = var.deploy_factory ? azurerm_data_factory.ebb[0].name : ""
}

output "ebb_factory_principal_id" {
  description = "Who the factory is; empty: there is none."
  value       = var.deploy_factory ? azurerm_data_factory.ebb[0].identity[0].principal_id : ""
}

output "ebb_mails_go_to" {
  description = "Who gets mails. Groups that own the resource group get none from a budget: only people who own it themselves do."
  value       = length(var.alert_emails) == 0 ? "people who own the resource group themselves, from the budget only: set alert_emails" : "alert_emails"
}

output "ebb_budget_start_date" {
  description = "From when the budget counts; give the same again."
  value       = var.budget_start_date
}
