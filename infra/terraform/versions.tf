# What this deployment is written for; `terraform init` pins the exact build in .terraform.lock.hcl.
terraform {
  required_version = ">= 1.9.0"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "4.55.0"
    }
    time = {
      source  = "hashicorp/time"
      version = "0.13.1"
    }
  }
}

provider "azurerm" {
  subscription_id     = var.subscription_id
  storage_use_azuread = true

  features {
    # The blob, queue and table endpoints ask for data roles that whoever deploys need not have.
    storage {
      data_plane_available = false
    }

    # What a template made stays when its deployment is forgotten or made again.
    template_deployment {
      delete_nested_items_during_deletion = false
    }

    # Azure makes one of its own otherwise, which keeps the group from being removed.
    application_insights {
      disable_generated_rule = true
    }

    # The action group is known to a template only; archive and state are kept by prevent_destroy.
    resource_group {
      prevent_deletion_if_contains_resources = false
    }
  }
}
