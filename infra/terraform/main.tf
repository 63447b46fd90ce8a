# The same Ebb as infra/main.bicep, for who uses Terraform: its own resource group, its identity, its names.
# Of the business's it touches the account's role assignments and diagnostic settings, and both can be left out.
locals {
  account = split("/", var.cosmos_account_id)
  suffix  = substr(sha256("${var.subscription_id}/${var.environment_name}/${var.location}"), 0, 13)
  tags    = { "azd-env-name" = var.environment_name }

  arm_schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
}

resource "azurerm_resource_group" "ebb" {
  name     = "rg-ebb-${var.environment_name}"
  location = var.location
  tags     = local.tags
}

# The one identity of the app. It exists before the app does, so that the first start finds its roles.
resource "azurerm_user_assigned_identity" "app" {
  name                = "id-ebb-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  location            = azurerm_resource_group.ebb.location
  tags                = local.tags
}

# What Ebb's own resource group may cost a month before its owners hear of it. It stops nothing.
resource "azurerm_consumption_budget_resource_group" "ebb" {
  count             = var.monthly_budget > 0 ? 1 : 0
  name              = "ebb"
  resource_group_id = azurerm_resource_group.ebb.id
  amount            = var.monthly_budget
  time_grain        = "Monthly"

  time_period {
    start_date = "${var.budget_start_date}T00:00:00Z"
  }

  dynamic "notification" {
    for_each = [[50, "Actual"], [80, "Actual"], [100, "Forecasted"]]

    content {
      operator       = "GreaterThanOrEqualTo"
      threshold      = notification.value[0]
      threshold_type = notification.value[1]
      contact_emails = var.alert_emails
      contact_roles  = ["Owner"]
    }
  }
}
