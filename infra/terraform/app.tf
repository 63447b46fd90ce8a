# The function app on Flex Consumption, and every setting that shared/settings.py reads.
locals {
  has_webhooks = nonsensitive(var.webhooks != "")
  app_host     = "func-ebb-${local.suffix}.azurewebsites.net"

  settings = {
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${azurerm_user_assigned_identity.app.client_id};Authorization=AAD"
    AZURE_CLIENT_ID                           = azurerm_user_assigned_identity.app.client_id
    PYTHON_ENABLE_OPENTELEMETRY               = "true"
    PYTHON_THREADPOOL_THREAD_COUNT            = "8"
    AzureWebJobsStorage__accountName          = azurerm_storage_account.state.name
    AzureWebJobsStorage__credential           = "managedidentity"
    AzureWebJobsStorage__clientId             = azurerm_user_assigned_identity.app.client_id
    EBB_ARCHIVE_STORAGE                       = ""
    EBB_ARCHIVE_STORAGE__accountName          = azurerm_storage_account.archive.name
    EBB_STORAGE_SUFFIX                        = "core.windows.net"
    EBB_COSMOS_ENDPOINT                       = local.cosmos_endpoint
    EBB_COSMOS_RESOURCE_ID                    = var.cosmos_account_id
    EBB_MANAGEMENT_ENDPOINT                   = "https://management.azure.com"
    EBB_LOG_WORKSPACE_ID                      = var.enable_account_diagnostics ? azurerm_log_analytics_workspace.ebb.workspace_id : ""
    EBB_LOGS_ENDPOINT                         = var.logs_endpoint
    EBB_CA_FILE                               = ""
    EBB_FACTORY_RESOURCE_ID                   = var.deploy_factory ? azurerm_data_factory.ebb[0].id : ""
    EBB_CALLBACK_URL                          = "https://${local.app_host}"
    EBB_CALLBACK_KEY                          = ""
    EBB_CALLBACK_HOSTS                        = ""
    EBB_ALERT_KEY                             = ""
    EBB_OPERATOR_KEY                          = ""
    EBB_ALERT_ISSUER                          = var.alert_token_issuer
    EBB_ALERT_AUDIENCE                        = var.alert_token_audience
    EBB_ALERT_ROLE                            = "ActionGroupsSecureWebhook"
    EBB_WEBHOOKS                              = var.webhooks
    EBB_WEBHOOK_HOSTS                         = ""
    EBB_RUNBOOK_URL                           = "docs/runbook.md"
    EBB_METRIC_SETTLE_S                       = tostring(var.metric_settle_s)
    EBB_SCRATCH_DIR                           = ""
    EBB_TICK_SCHEDULE                         = var.tick_schedule
    EBB_JANITOR_SCHEDULE                      = var.janitor_schedule
  }

  written = merge(local.settings, {
    APPLICATIONINSIGHTS_CONNECTION_STRING = azurerm_application_insights.ebb.connection_string
    EBB_WEBHOOKS                          = local.has_webhooks ? "[parameters('webhooks')]" : ""
  })
}

resource "azurerm_service_plan" "ebb" {
  name                = "plan-ebb-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  location            = azurerm_resource_group.ebb.location
  tags                = local.tags
  os_type             = "Linux"
  sku_name            = "FC1"
}

resource "azurerm_function_app_flex_consumption" "ebb" {
  name                      = "func-ebb-${local.suffix}"
  resource_group_name       = azurerm_resource_group.ebb.name
  location                  = azurerm_resource_group.ebb.location
  tags                      = merge(local.tags, { "azd-service-name" = "api" })
  service_plan_id           = azurerm_service_plan.ebb.id
  runtime_name              = "python"
  runtime_version           = "3.13"
  instance_memory_in_mb     = var.instance_memory_mb
  maximum_instance_count    = var.instances_max
  http_concurrency          = 8 # Azure starts Python with one: a slow query of the dashboard would hold up an alert
  https_only                = true
  virtual_network_subnet_id = var.private_networking ? azurerm_subnet.app[0].id : null

  storage_container_type            = "blobContainer"
  storage_container_endpoint        = "${azurerm_storage_account.state.primary_blob_endpoint}${azurerm_storage_container.package.name}"
  storage_authentication_type       = "UserAssignedIdentity"
  storage_user_assigned_identity_id = azurerm_user_assigned_identity.app.id

  dynamic "always_ready" {
    for_each = var.http_instances > 0 ? [var.http_instances] : []

    content {
      name           = "http"
      instance_count = always_ready.value
    }
  }

  # Publishing takes an Entra token. azurerm has no argument for FTP's own password: the settings' deployment shuts it.
  webdeploy_publish_basic_authentication_enabled = false

  app_settings = local.settings

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.app.id]
  }

  site_config {
    application_insights_connection_string = azurerm_application_insights.ebb.connection_string
    minimum_tls_version                    = "1.2"
    scm_minimum_tls_version                = "1.2"
    http2_enabled                          = true
  }

  lifecycle {
    ignore_changes = [
      app_settings["EBB_ALERT_KEY"],
      app_settings["EBB_CALLBACK_KEY"],
      app_settings["EBB_OPERATOR_KEY"],
    ]
  }

  depends_on = [
    azurerm_role_assignment.state_blob,
    azurerm_role_assignment.state_queue,
    azurerm_role_assignment.state_table,
    azurerm_private_endpoint.ebb,
  ]
}

# All settings once more, by ARM: azurerm adds an AzureWebJobsStorage without a key at each change of the app, which host and Ebb
# both prefer to the identity. This one asks the host for nothing, so it heals the app also when the host cannot answer.
resource "azurerm_resource_group_template_deployment" "settings" {
  name                = "ebb-settings"
  resource_group_name = azurerm_resource_group.ebb.name
  deployment_mode     = "Incremental"

  template_content = jsonencode({
    "$schema"      = local.arm_schema
    contentVersion = "1.0.0.0"
    parameters     = local.has_webhooks ? { webhooks = { type = "securestring" } } : {}
    resources = [{
      type       = "Microsoft.Web/sites/config"
      apiVersion = "2024-11-01"
      name       = "${azurerm_function_app_flex_consumption.ebb.name}/appsettings"
      properties = local.written
      },
      {
        type       = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
        apiVersion = "2024-11-01"
        name       = "${azurerm_function_app_flex_consumption.ebb.name}/ftp"
        location   = azurerm_resource_group.ebb.location
        properties = { allow = false }
    }]
  })

  # A template stays readable among the group's deployments; a secure parameter does not.
  parameters_content = jsonencode(local.has_webhooks ? { webhooks = { value = var.webhooks } } : {})

  # Whatever azurerm writes to the app, it writes its own settings as well.
  lifecycle {
    replace_triggered_by = [azurerm_function_app_flex_consumption.ebb]
  }
}

# The host restarts with its settings, and gives no keys until it has.
resource "time_sleep" "restart" {
  count           = var.fetch_function_key ? 1 : 0
  create_duration = "60s"

  lifecycle {
    replace_triggered_by = [azurerm_resource_group_template_deployment.settings]
  }

  depends_on = [azurerm_resource_group_template_deployment.settings]
}

# The keys of three functions: runs of the factory call slice_validate with one, the doctor tries the way of alerts with
# another, and the third is asked for by applying and retiring, beside a key of the host. None opens another route. ARM fetches them itself: kept in the app's settings, shown nowhere.
resource "azurerm_resource_group_template_deployment" "callback" {
  count               = var.fetch_function_key ? 1 : 0
  name                = "ebb-callback"
  resource_group_name = azurerm_resource_group.ebb.name
  deployment_mode     = "Incremental"

  template_content = jsonencode({
    "$schema"      = local.arm_schema
    contentVersion = "1.0.0.0"
    parameters     = local.has_webhooks ? { webhooks = { type = "securestring" } } : {}
    resources = [{
      type       = "Microsoft.Web/sites/config"
      apiVersion = "2024-11-01"
      name       = "${azurerm_function_app_flex_consumption.ebb.name}/appsettings"
      properties = merge(local.written, {
        EBB_ALERT_KEY    = "[listKeys('${azurerm_function_app_flex_consumption.ebb.id}/functions/alerts', '2024-11-01').default]"
        EBB_OPERATOR_KEY = "[listKeys('${azurerm_function_app_flex_consumption.ebb.id}/functions/retirement_change', '2024-11-01').default]"
        EBB_CALLBACK_KEY = "[listKeys('${azurerm_function_app_flex_consumption.ebb.id}/functions/slice_validate', '2024-11-01').default]"
      })
    }]
  })

  parameters_content = jsonencode(local.has_webhooks ? { webhooks = { value = var.webhooks } } : {})

  lifecycle {
    replace_triggered_by = [azurerm_resource_group_template_deployment.settings]
  }

  depends_on = [time_sleep.restart]
}
