# Two storage accounts: the app's state, and the archive. Apart, because only the archive may keep versions,
# be cooled down or be held for years, and because the factory has no business with the state.
locals {
  account_tier     = split("_", var.redundancy)[0]
  replication_type = split("_", var.redundancy)[1]
  # A rule takes ten prefixes: those of the first container are named.
  staging_prefixes = [for prefix in concat([""], var.sink_prefixes) : "${var.archive_containers[0]}/${prefix == "" ? "" : "${prefix}/"}staging/"]
  archive_closed   = var.private_networking && !var.deploy_factory
}

resource "azurerm_storage_account" "state" {
  name                             = "stebbs${local.suffix}"
  resource_group_name              = azurerm_resource_group.ebb.name
  location                         = azurerm_resource_group.ebb.location
  tags                             = local.tags
  account_kind                     = "StorageV2"
  account_tier                     = local.account_tier
  account_replication_type         = local.replication_type
  shared_access_key_enabled        = false
  default_to_oauth_authentication  = true
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  min_tls_version                  = "TLS1_2"
  https_traffic_only_enabled       = true
  public_network_access_enabled    = !var.private_networking

  network_rules {
    default_action = var.private_networking ? "Deny" : "Allow"
    bypass         = ["AzureServices"]
  }

  blob_properties {
    delete_retention_policy {
      days = 7
    }
    container_delete_retention_policy {
      days = 7
    }
  }

  # The ledger: another redundancy would make it anew.
  lifecycle {
    prevent_destroy = true
  }
}

resource "azurerm_storage_container" "package" {
  name                  = "app-package"
  storage_account_id    = azurerm_storage_account.state.id
  container_access_type = "private"
}

resource "azurerm_storage_account" "archive" {
  name                             = "stebba${local.suffix}"
  resource_group_name              = azurerm_resource_group.ebb.name
  location                         = azurerm_resource_group.ebb.location
  tags                             = local.tags
  account_kind                     = "StorageV2"
  account_tier                     = local.account_tier
  account_replication_type         = local.replication_type
  shared_access_key_enabled        = false
  default_to_oauth_authentication  = true
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  min_tls_version                  = "TLS1_2"
  https_traffic_only_enabled       = true
  public_network_access_enabled    = !local.archive_closed

  network_rules {
    default_action = var.private_networking ? "Deny" : "Allow"
    bypass         = ["AzureServices"]
  }

  blob_properties {
    versioning_enabled = true

    delete_retention_policy {
      days = var.keep_deleted_days
    }
    container_delete_retention_policy {
      days = var.keep_deleted_days
    }
  }

  # No policy of its own is in force: Ebb deletes what lies under staging/ once it is proven.
  dynamic "immutability_policy" {
    for_each = var.archive_immutability ? [1] : []

    content {
      state                         = "Disabled"
      period_since_creation_in_days = 1
      allow_protected_append_writes = false
    }
  }

  # Perhaps the only copy by now: another redundancy, or immutability turned on later, would make it anew.
  lifecycle {
    prevent_destroy = true
  }
}

resource "azurerm_storage_container" "archive" {
  for_each              = toset(var.archive_containers)
  name                  = each.value
  storage_account_id    = azurerm_storage_account.archive.id
  container_access_type = "private"

  # A name taken out of archive_containers must not take its blobs along.
  lifecycle {
    prevent_destroy = true
  }
}

# Online tiers only: a proof must be able to read every blob at once. Versions are what staging leaves behind.
resource "azurerm_storage_management_policy" "archive" {
  storage_account_id = azurerm_storage_account.archive.id

  rule {
    name    = "archive-gets-cheaper"
    enabled = true

    filters {
      blob_types = ["blockBlob"]
    }

    actions {
      base_blob {
        tier_to_cool_after_days_since_modification_greater_than = var.cool_after_days
        tier_to_cold_after_days_since_modification_greater_than = var.cold_after_days
      }
      version {
        delete_after_days_since_creation = var.keep_deleted_days
      }
    }
  }

  # What was staged is promoted or deleted within hours, and nobody wants its versions back.
  rule {
    name    = "staging-is-forgotten"
    enabled = true

    filters {
      blob_types   = ["blockBlob"]
      prefix_match = local.staging_prefixes
    }

    actions {
      version {
        delete_after_days_since_creation = 1
      }
    }
  }
}

# The Functions host makes containers, leases and its keys here, and the published package is read from here.
resource "azurerm_role_assignment" "state_blob" {
  scope                = azurerm_storage_account.state.id
  role_definition_name = "Storage Blob Data Owner"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
  principal_type       = "ServicePrincipal"
}

# Queue triggers take, hide and delete messages, and make the poison queues; Ebb sends.
resource "azurerm_role_assignment" "state_queue" {
  scope                = azurerm_storage_account.state.id
  role_definition_name = "Storage Queue Data Contributor"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
  principal_type       = "ServicePrincipal"
}

# The ledger, the board, the journal, the metering and the memories are tables that Ebb makes and writes.
resource "azurerm_role_assignment" "state_table" {
  scope                = azurerm_storage_account.state.id
  role_definition_name = "Storage Table Data Contributor"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
  principal_type       = "ServicePrincipal"
}

# Slices are staged, promoted and read back; in these containers and in no other of the account.
resource "azurerm_role_assignment" "archive_app" {
  for_each             = azurerm_storage_container.archive
  scope                = each.value.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.app.principal_id
  principal_type       = "ServicePrincipal"
}

# A run writes its file under incoming/; Ebb compares it before anything of it counts.
resource "azurerm_role_assignment" "archive_factory" {
  for_each             = { for name, container in azurerm_storage_container.archive : name => container if var.deploy_factory }
  scope                = each.value.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_data_factory.ebb[0].identity[0].principal_id
  principal_type       = "ServicePrincipal"
}
