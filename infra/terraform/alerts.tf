# What is watched from outside, and who is told: the app itself, which makes room, and people.
locals {
  by_key   = var.fetch_function_key && var.alert_token_issuer == ""
  by_token = var.fetch_function_key && var.alert_token_issuer != ""

  # The key opens the route of alerts and no other: who reads this resource group can read it. The receiver of a function
  # brings it alone; the one of a secure webhook a token as well.
  alerts_address = "[concat('https://${azurerm_function_app_flex_consumption.ebb.default_hostname}/api/alerts?code=', listKeys('${azurerm_function_app_flex_consumption.ebb.id}/functions/alerts', '2024-11-01').default)]"

  cosmos_namespace = "Microsoft.DocumentDB/databaseAccounts"
  action_group_id  = "${azurerm_resource_group.ebb.id}/providers/Microsoft.Insights/actionGroups/ag-ebb-${local.suffix}"
}

# Through ARM, so that the function key stands in the receiver and in no plan. After a rotation: apply again, with -replace.
resource "azurerm_resource_group_template_deployment" "action_group" {
  count               = var.enable_alerts ? 1 : 0
  name                = "ebb-action-group"
  resource_group_name = azurerm_resource_group.ebb.name
  deployment_mode     = "Incremental"

  template_content = jsonencode({
    "$schema"      = local.arm_schema
    contentVersion = "1.0.0.0"
    resources = [{
      type       = "Microsoft.Insights/actionGroups"
      apiVersion = "2023-01-01"
      name       = "ag-ebb-${local.suffix}"
      location   = "global"
      tags       = local.tags
      properties = {
        groupShortName = "ebb"
        enabled        = true
        emailReceivers = [for index, address in var.alert_emails : {
          name                 = "mail-${index}"
          emailAddress         = address
          useCommonAlertSchema = true
        }]
        azureFunctionReceivers = [for app in azurerm_function_app_flex_consumption.ebb[*] : {
          name                  = "ebb"
          functionAppResourceId = app.id
          functionName          = "alerts"
          httpTriggerUrl        = local.alerts_address
          useCommonAlertSchema  = true
        } if local.by_key]
        webhookReceivers = [for issuer in [var.alert_token_issuer] : {
          name                 = "ebb"
          serviceUri           = local.alerts_address
          useCommonAlertSchema = true
          useAadAuth           = true
          objectId             = var.alert_token_object_id
          identifierUri        = "api://${var.alert_token_audience}"
          tenantId             = split("/", issuer)[3]
        } if local.by_token]
      }
    }]
  })

  # It asks the host for a key, which restarts while its settings are written.
  depends_on = [azurerm_resource_group_template_deployment.callback]
}

resource "azurerm_monitor_metric_alert" "request_units" {
  count               = var.enable_alerts ? 1 : 0
  name                = "ebb-request-units-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  tags                = local.tags
  description         = "Business and Ebb together used more than the ceiling for a minute."
  severity            = 2
  scopes              = [var.cosmos_account_id]
  frequency           = "PT1M"
  window_size         = "PT1M"

  criteria {
    metric_namespace = local.cosmos_namespace
    metric_name      = "TotalRequestUnits"
    aggregation      = "Total"
    operator         = "GreaterThan"
    threshold        = var.account_capacity_ru_per_s * 60 * var.ceiling_percent / 100
  }

  action {
    action_group_id = local.action_group_id
  }

  depends_on = [azurerm_resource_group_template_deployment.action_group]
}

# Its highest second counts, so it must lie above the ceiling for five minutes. A serverless account may
# not have this metric: then the rule is made without asking for it, and stays silent.
resource "azurerm_monitor_metric_alert" "full_partition" {
  count               = var.enable_alerts ? 1 : 0
  name                = "ebb-full-partition-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  tags                = local.tags
  description         = "The busiest partition was above the ceiling on average for five minutes."
  severity            = 3
  scopes              = [var.cosmos_account_id]
  frequency           = "PT1M"
  window_size         = "PT5M"

  criteria {
    metric_namespace       = local.cosmos_namespace
    metric_name            = "NormalizedRUConsumption"
    aggregation            = "Average"
    operator               = "GreaterThan"
    threshold              = var.ceiling_percent
    skip_metric_validation = true
  }

  action {
    action_group_id = local.action_group_id
  }

  depends_on = [azurerm_resource_group_template_deployment.action_group]
}

resource "azurerm_monitor_metric_alert" "throttled" {
  count               = var.enable_alerts ? 1 : 0
  name                = "ebb-throttled-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  tags                = local.tags
  description         = "Requests to the account were answered 429."
  severity            = 2
  scopes              = [var.cosmos_account_id]
  frequency           = "PT1M"
  window_size         = "PT5M"

  criteria {
    metric_namespace = local.cosmos_namespace
    metric_name      = "TotalRequests"
    aggregation      = "Count"
    operator         = "GreaterThanOrEqual"
    threshold        = var.throttled_requests_max

    dimension {
      name     = "StatusCode"
      operator = "Include"
      values   = ["429"]
    }
  }

  action {
    action_group_id = local.action_group_id
  }

  depends_on = [azurerm_resource_group_template_deployment.action_group]
}

resource "azurerm_monitor_metric_alert" "failures" {
  count               = var.enable_alerts ? 1 : 0
  name                = "ebb-failures-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  tags                = local.tags
  description         = "Functions of Ebb failed. Expected failures are recorded in the ledger and end well; these are others."
  severity            = 2
  scopes              = [azurerm_application_insights.ebb.id]
  frequency           = "PT5M"
  window_size         = "PT15M"

  criteria {
    metric_namespace       = "microsoft.insights/components"
    metric_name            = "requests/failed"
    aggregation            = "Count"
    operator               = "GreaterThan"
    threshold              = 5
    skip_metric_validation = true
  }

  action {
    action_group_id = local.action_group_id
  }

  depends_on = [azurerm_resource_group_template_deployment.action_group]
}

# A log rule, because a metric that is silent fires nothing: this query always answers with one number.
resource "azurerm_monitor_scheduled_query_rules_alert_v2" "heartbeat" {
  count                   = var.enable_alerts ? 1 : 0
  name                    = "ebb-heartbeat-${local.suffix}"
  resource_group_name     = azurerm_resource_group.ebb.name
  location                = azurerm_resource_group.ebb.location
  tags                    = local.tags
  description             = "The controller has not decided for fifteen minutes. Ebb spends nothing meanwhile, and moves nothing."
  severity                = 1
  scopes                  = [azurerm_log_analytics_workspace.ebb.id]
  evaluation_frequency    = "PT5M"
  window_duration         = "PT15M"
  auto_mitigation_enabled = true
  enabled                 = var.fetch_function_key # before the first publishing nothing can decide
  skip_query_validation   = true

  criteria {
    query                   = "AppRequests | where Name == \"tick\" and Success == true and AppRoleName =~ \"${azurerm_function_app_flex_consumption.ebb.name}\" | summarize Ticks = count()"
    time_aggregation_method = "Total"
    metric_measure_column   = "Ticks"
    operator                = "LessThan"
    threshold               = 1

    failing_periods {
      number_of_evaluation_periods             = 1
      minimum_failing_periods_to_trigger_alert = 1
    }
  }

  action {
    action_groups = [local.action_group_id]
  }

  depends_on = [azurerm_resource_group_template_deployment.action_group]
}
