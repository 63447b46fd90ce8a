# The same parameters as infra/main.bicep, with the same defaults; only subscription_id is asked for here alone.
variable "subscription_id" {
  description = "Subscription of this Ebb, and of the Cosmos DB account."
  type        = string
}

variable "environment_name" {
  description = "Name of this deployment. Another name is another Ebb beside this one, with nothing in common."
  type        = string

  validation {
    condition     = length(var.environment_name) >= 1 && length(var.environment_name) <= 32
    error_message = "Environment_name: write 1 to 32 characters."
  }
}

variable "location" {
  description = "Azure region. The region of the Cosmos DB account is the best: data that leaves a region costs money and time."
  type        = string

  validation {
    condition     = length(var.location) >= 1
    error_message = "Location: it is empty."
  }
}

variable "cosmos_account_id" {
  description = "Resource id of the existing Cosmos DB for NoSQL account: /subscriptions/…/resourceGroups/…/providers/Microsoft.DocumentDB/databaseAccounts/NAME"
  type        = string
}

variable "cosmos_scopes" {
  description = "Which parts of the account may be read, as paths below it: \"/\", \"/dbs/NAME\", \"/dbs/NAME/colls/NAME\"."
  type        = list(string)
  default     = ["/"]

  validation {
    condition     = length(var.cosmos_scopes) >= 1
    error_message = "Cosmos_scopes: it is empty."
  }
}

variable "enable_retire" {
  description = "Whether Ebb may write to the account, for specs that retire. Off, its identity cannot change a document, whatever a spec says. On, it could change any within cosmos_scopes: name there only what migrations retire from."
  type        = bool
  default     = false
}

variable "assign_account_roles" {
  description = "Whether to give roles on the account. Off, somebody else must: docs/deploy.md lists them."
  type        = bool
  default     = true
}

variable "enable_account_diagnostics" {
  description = "Whether the account sends its RU per partition to the workspace of Ebb, which learns from it what each hour is used to. It costs the ingestion of one row per second and used partition key."
  type        = bool
  default     = true
}

variable "archive_containers" {
  description = "Blob containers that specs name as their sink. The app may write to these and to no other."
  type        = list(string)
  default     = ["archive"]

  validation {
    condition     = length(var.archive_containers) >= 1
    error_message = "Archive_containers: it is empty."
  }
}

variable "sink_prefixes" {
  description = "Values of sink.prefix in specs, without a slash at the end. What is staged below them loses its old versions after a day instead of keep_deleted_days; so it does without a prefix."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.sink_prefixes) <= 9
    error_message = "Sink_prefixes: write 9 at most."
  }
}

variable "redundancy" {
  description = "Copies of archive and state. Standard_ZRS survives the loss of a datacentre; regions without zones need Standard_LRS or Standard_GRS."
  type        = string
  default     = "Standard_ZRS"

  validation {
    condition     = contains(["Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_RAGRS", "Standard_GZRS", "Standard_RAGZRS"], var.redundancy)
    error_message = "Redundancy: write one of Standard_LRS, Standard_ZRS, Standard_GRS, Standard_RAGRS, Standard_GZRS, Standard_RAGZRS."
  }
}

variable "cool_after_days" {
  description = "Days after which an archived blob moves to the cool tier; it is read as fast from there."
  type        = number
  default     = 30

  validation {
    condition     = var.cool_after_days >= 0
    error_message = "Cool_after_days: write 0 or more."
  }
}

variable "cold_after_days" {
  description = "Days after which it moves to the cold tier. Must be more than cool_after_days."
  type        = number
  default     = 90

  validation {
    condition     = var.cold_after_days >= 1
    error_message = "Cold_after_days: write 1 or more."
  }
}

variable "keep_deleted_days" {
  description = "Days for which a deleted or replaced blob, and a deleted container, can be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.keep_deleted_days >= 1 && var.keep_deleted_days <= 365
    error_message = "Keep_deleted_days: write 1 to 365."
  }
}

variable "archive_immutability" {
  description = "Whether retention policies and legal holds can be set on single archived blobs. Only at the first deployment: Azure takes it for a new account alone, and never takes it off again."
  type        = bool
  default     = false
}

variable "deploy_factory" {
  description = "Whether to make a Data Factory for specs with \"engine: adf\"."
  type        = bool
  default     = false
}

variable "private_networking" {
  description = "Whether storage is reached through private endpoints only, and the app stands in a network of its own."
  type        = bool
  default     = false
}

variable "connect_account_privately" {
  description = "With private_networking: whether the account gets a private endpoint from that network, too. This adds a connection to the account, which its owner sees."
  type        = bool
  default     = false
}

variable "network_prefix" {
  description = "With private_networking: the addresses of that network."
  type        = string
  default     = "10.83.0.0/24"
}

variable "app_subnet_prefix" {
  description = "With private_networking: those that the instances of the app share, at least a /27."
  type        = string
  default     = "10.83.0.0/26"
}

variable "endpoints_subnet_prefix" {
  description = "With private_networking: those of the private endpoints."
  type        = string
  default     = "10.83.0.64/26"
}

variable "enable_alerts" {
  description = "Whether to watch the account and the app, and tell the app and the people below."
  type        = bool
  default     = true
}

variable "alert_emails" {
  description = "Who gets a mail when an alert fires or the budget is nearly spent."
  type        = list(string)
  default     = []
}

variable "account_capacity_ru_per_s" {
  description = "Request units per second that the account can do: for serverless 5,000 for a container of up to five physical partitions, and 1,000 more for each further one."
  type        = number
  default     = 5000

  validation {
    condition     = var.account_capacity_ru_per_s >= 100
    error_message = "Account_capacity_ru_per_s: write 100 or more."
  }
}

variable "ceiling_percent" {
  description = "Percent of that capacity above which an alert fires."
  type        = number
  default     = 80

  validation {
    condition     = var.ceiling_percent >= 10 && var.ceiling_percent <= 100
    error_message = "Ceiling_percent: write 10 to 100."
  }
}

variable "throttled_requests_max" {
  description = "Throttled requests (429) in five minutes from which an alert fires."
  type        = number
  default     = 100

  validation {
    condition     = var.throttled_requests_max >= 1
    error_message = "Throttled_requests_max: write 1 or more."
  }
}

variable "monthly_budget" {
  description = "What the resource group of Ebb may cost a month, in the currency of the bill; 0 makes no budget. The account and its request units are not in it."
  type        = number
  default     = 50

  validation {
    condition     = var.monthly_budget >= 0
    error_message = "Monthly_budget: write 0 or more."
  }
}

variable "budget_start_date" {
  description = "First day of a month (2026-01-01) from which the budget counts. Azure refuses to move it later: keep the first value. Asked for where there is a budget."
  type        = string
  default     = ""

  validation {
    condition     = var.monthly_budget == 0 || can(regex("^[0-9]{4}-[0-9]{2}-01$", var.budget_start_date))
    error_message = "Budget_start_date: write the first day of a month, such as 2026-01-01, or monthly_budget = 0."
  }
}

variable "log_retention_days" {
  description = "Days for which logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730
    error_message = "Log_retention_days: write 30 to 730."
  }
}

variable "logs_endpoint" {
  description = "Address at which Log Analytics is asked; another one in national clouds."
  type        = string
  default     = "https://api.loganalytics.io"
}

variable "instance_memory_mb" {
  description = "Memory of an instance of the app."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 2048, 4096], var.instance_memory_mb)
    error_message = "Instance_memory_mb: write one of 512, 2048, 4096."
  }
}

variable "instances_max" {
  description = "Instances at most. More of them copy no faster: the budget is shared by seats, not by instances."
  type        = number
  default     = 40

  validation {
    condition     = var.instances_max >= 40 && var.instances_max <= 1000
    error_message = "Instances_max: write 40 to 1000."
  }
}

variable "http_instances" {
  description = "Instances that wait for HTTP calls and never go cold: a cold one takes seconds, and an action group waits for ten. One of 2 GB costs about 21 USD a month; 0 makes the first alert after a pause wait for a cold start."
  type        = number
  default     = 1

  validation {
    condition     = var.http_instances >= 0 && var.http_instances <= 20
    error_message = "Http_instances: write 0 to 20."
  }
}

variable "tick_schedule" {
  description = "When the controller decides (NCRONTAB with seconds)."
  type        = string
  default     = "*/30 * * * * *"
}

variable "janitor_schedule" {
  description = "When leftovers are swept up (NCRONTAB with seconds)."
  type        = string
  default     = "0 */10 * * * *"
}

variable "alert_token_issuer" {
  description = "Issuer of the Entra tokens that alerts must bring, https://login.microsoftonline.com/TENANT/v2.0; empty: the function key is all that is asked."
  type        = string
  default     = ""
}

variable "alert_token_audience" {
  description = "Audience of those tokens: the application id that the secure webhook asks them for. Needed with an issuer."
  type        = string
  default     = ""
}

variable "alert_token_object_id" {
  description = "Object id of that application registration. Needed with an issuer."
  type        = string
  default     = ""
}

variable "webhooks" {
  description = "Who is told of halts and completions: JSON, from names that specs use to addresses. Addresses may carry keys of their own, so it is handed over as a secret."
  type        = string
  default     = ""
  sensitive   = true
}

variable "metric_settle_s" {
  description = "Seconds after its end until a minute of Azure Monitor is taken as complete."
  type        = number
  default     = 60

  validation {
    condition     = var.metric_settle_s >= 0 && var.metric_settle_s <= 180
    error_message = "Metric_settle_s: write 0 to 180."
  }
}

variable "fetch_function_key" {
  description = "Whether to fetch the function keys with which alerts and the factory call the app, one of a single function each. Azure has none before there is code: deploy, publish, then deploy again with true. `azd up` does it so by itself."
  type        = bool
  default     = false
}
