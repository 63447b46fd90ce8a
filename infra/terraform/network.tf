# A private deployment: one subnet that the app goes out from, one that holds the endpoints, and their names.
locals {
  private = var.private_networking ? 1 : 0

  storage_endpoints = {
    "state-blob"   = { target = azurerm_storage_account.state.id, part = "blob" }
    "state-queue"  = { target = azurerm_storage_account.state.id, part = "queue" }
    "state-table"  = { target = azurerm_storage_account.state.id, part = "table" }
    "archive-blob" = { target = azurerm_storage_account.archive.id, part = "blob" }
  }
  account_endpoint = { "cosmos" = { target = var.cosmos_account_id, part = "Sql" } }

  endpoints = !var.private_networking ? {} : merge(
    local.storage_endpoints,
    var.connect_account_privately ? local.account_endpoint : {},
  )

  storage_zones = {
    blob  = "privatelink.blob.core.windows.net"
    queue = "privatelink.queue.core.windows.net"
    table = "privatelink.table.core.windows.net"
  }
  zones = !var.private_networking ? {} : merge(
    local.storage_zones,
    var.connect_account_privately ? { Sql = "privatelink.documents.azure.com" } : {},
  )
}

resource "azurerm_virtual_network" "ebb" {
  count               = local.private
  name                = "vnet-ebb-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  location            = azurerm_resource_group.ebb.location
  tags                = local.tags
  address_space       = [var.network_prefix]
}

resource "azurerm_subnet" "app" {
  count                = local.private
  name                 = "app"
  resource_group_name  = azurerm_resource_group.ebb.name
  virtual_network_name = azurerm_virtual_network.ebb[0].name
  address_prefixes     = [var.app_subnet_prefix]

  delegation {
    name = "flex"

    service_delegation {
      name    = "Microsoft.App/environments"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_subnet" "endpoints" {
  count                             = local.private
  name                              = "endpoints"
  resource_group_name               = azurerm_resource_group.ebb.name
  virtual_network_name              = azurerm_virtual_network.ebb[0].name
  address_prefixes                  = [var.endpoints_subnet_prefix]
  private_endpoint_network_policies = "Disabled"
}

resource "azurerm_private_dns_zone" "ebb" {
  for_each            = local.zones
  name                = each.value
  resource_group_name = azurerm_resource_group.ebb.name
  tags                = local.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "ebb" {
  for_each              = local.zones
  name                  = "ebb"
  resource_group_name   = azurerm_resource_group.ebb.name
  private_dns_zone_name = azurerm_private_dns_zone.ebb[each.key].name
  virtual_network_id    = azurerm_virtual_network.ebb[0].id
  tags                  = local.tags
}

resource "azurerm_private_endpoint" "ebb" {
  for_each            = local.endpoints
  name                = "pe-${each.key}-${local.suffix}"
  resource_group_name = azurerm_resource_group.ebb.name
  location            = azurerm_resource_group.ebb.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value.target
    subresource_names              = [each.value.part]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.ebb[each.value.part].id]
  }

  # The account takes one change at a time, and its role assignments are changes.
  depends_on = [
    azurerm_cosmosdb_sql_role_assignment.app,
    azurerm_cosmosdb_sql_role_assignment.factory,
  ]
}
