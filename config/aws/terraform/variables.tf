variable "queue_name" {
  description = "Name of the queue, without .fifo. The dead-letter queue is called <name>-dead-letter."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,63}$", var.queue_name))
    error_message = "A name is 1 to 63 letters, digits, hyphens and underscores."
  }
}

variable "fifo" {
  description = "Whether it is a FIFO queue."
  type        = bool
  default     = false
}

variable "visibility_timeout_seconds" {
  description = "For other readers of the queue; a binding asks for its own visibilityTimeoutSeconds at each receive."
  type        = number
  default     = 60
}

variable "message_retention_seconds" {
  description = "How long SQS keeps a message that nobody deletes. The dead-letter queue keeps them for 14 days, counted from when they were sent."
  type        = number
  default     = 345600
}

variable "max_receive_count" {
  description = "After how many receives a message goes to the dead-letter queue. Under OnJobSucceeded each attempt is a receive, and so is each redelivery."
  type        = number
  default     = 5
}

variable "kms_key" {
  description = "Whether the queues get a KMS key of their own; else SQS manages the keys."
  type        = bool
  default     = false
}

variable "acknowledge" {
  description = "The binding's spec.acknowledge. OnJobSucceeded also grants what it takes to move messages back from the dead-letter queue."
  type        = string
  default     = "OnJobCreated"
  validation {
    condition     = contains(["OnJobCreated", "OnJobSucceeded"], var.acknowledge)
    error_message = "Either OnJobCreated or OnJobSucceeded."
  }
}

variable "trust" {
  description = "pod_identity or irsa: the role is the operator's own. operator: the role is the binding's, spec.queue.credentials.roleARN, and the operator's role may assume it."
  type        = string
  default     = "pod_identity"
  validation {
    condition     = contains(["pod_identity", "irsa", "operator"], var.trust)
    error_message = "One of pod_identity, irsa and operator."
  }
}

variable "oidc_provider_arn" {
  description = "irsa: the ARN of the cluster's OIDC provider."
  type        = string
  default     = ""
}

variable "operator_namespace" {
  description = "irsa and pod_identity: the operator's namespace."
  type        = string
  default     = "queuebinding-system"
}

variable "operator_service_account" {
  description = "irsa and pod_identity: the operator's ServiceAccount."
  type        = string
  default     = "queuebinding-controller-manager"
}

variable "eks_cluster_name" {
  description = "pod_identity: the EKS cluster in which the operator's ServiceAccount gets the role. Empty leaves the association to you."
  type        = string
  default     = ""
}

variable "operator_role_arn" {
  description = "operator: the ARN of the role that the operator runs with."
  type        = string
  default     = ""
}

variable "cluster_name" {
  description = "operator: what the operator has as --cluster-name, if anything."
  type        = string
  default     = ""
}

variable "binding_namespace" {
  description = "operator: the binding's namespace."
  type        = string
  default     = "default"
}

variable "binding_name" {
  description = "operator: the binding's name."
  type        = string
  default     = "pings"
}

variable "tags" {
  description = "Tags of all that is made."
  type        = map(string)
  default     = {}
}
