# A queue for a QueueBinding: the queue, its dead-letter queue, a key of its own if
# you want one, and an IAM role with no more than the binding needs.

data "aws_caller_identity" "current" {}

locals {
  suffix   = var.fifo ? ".fifo" : ""
  provider = replace(var.oidc_provider_arn, "/^.*oidc-provider\\//", "")
  external_id = join("", [
    "queuebinding:", var.cluster_name == "" ? "" : "${var.cluster_name}:", var.binding_namespace, "/", var.binding_name,
  ])
}

resource "aws_kms_key" "queue" {
  count               = var.kms_key ? 1 : 0
  description         = "Messages of the queue ${var.queue_name}"
  enable_key_rotation = true
  tags                = var.tags
}

resource "aws_sqs_queue" "dead_letter" {
  name                      = "${var.queue_name}-dead-letter${local.suffix}"
  fifo_queue                = var.fifo
  message_retention_seconds = 1209600
  kms_master_key_id         = one(aws_kms_key.queue[*].arn)
  sqs_managed_sse_enabled   = var.kms_key ? null : true
  tags                      = var.tags
}

resource "aws_sqs_queue" "queue" {
  name                       = "${var.queue_name}${local.suffix}"
  fifo_queue                 = var.fifo
  visibility_timeout_seconds = var.visibility_timeout_seconds
  message_retention_seconds  = var.message_retention_seconds
  kms_master_key_id          = one(aws_kms_key.queue[*].arn)
  sqs_managed_sse_enabled    = var.kms_key ? null : true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = var.max_receive_count
  })
  tags = var.tags
}

# Of no other queue: a redrive would move the messages of all.
resource "aws_sqs_queue_redrive_allow_policy" "dead_letter" {
  queue_url = aws_sqs_queue.dead_letter.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.queue.arn]
  })
}

data "aws_iam_policy_document" "trust" {
  dynamic "statement" {
    for_each = var.trust == "pod_identity" ? [1] : []
    content {
      actions = ["sts:AssumeRole", "sts:TagSession"]
      principals {
        type        = "Service"
        identifiers = ["pods.eks.amazonaws.com"]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [data.aws_caller_identity.current.account_id]
      }
    }
  }

  dynamic "statement" {
    for_each = var.trust == "irsa" ? [1] : []
    content {
      actions = ["sts:AssumeRoleWithWebIdentity"]
      principals {
        type        = "Federated"
        identifiers = [var.oidc_provider_arn]
      }
      condition {
        test     = "StringEquals"
        variable = "${local.provider}:aud"
        values   = ["sts.amazonaws.com"]
      }
      condition {
        test     = "StringEquals"
        variable = "${local.provider}:sub"
        values   = ["system:serviceaccount:${var.operator_namespace}:${var.operator_service_account}"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.trust == "operator" ? [1] : []
    content {
      sid     = "Assume"
      actions = ["sts:AssumeRole"]
      principals {
        type        = "AWS"
        identifiers = [var.operator_role_arn]
      }
      condition {
        test     = "StringEquals"
        variable = "sts:ExternalId"
        values   = [local.external_id]
      }
    }
  }

  # The tags are those of EKS Pod Identity, which pass from the operator's session to this one.
  dynamic "statement" {
    for_each = var.trust == "operator" ? [1] : []
    content {
      sid     = "NameSession"
      actions = ["sts:SetSourceIdentity", "sts:TagSession"]
      principals {
        type        = "AWS"
        identifiers = [var.operator_role_arn]
      }
    }
  }
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "Queue"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:SendMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.queue.arn]
  }

  statement {
    sid       = "DeadLetterCount"
    actions   = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.dead_letter.arn]
  }

  dynamic "statement" {
    for_each = var.acknowledge == "OnJobSucceeded" ? [1] : []
    content {
      sid       = "DeadLetterRedrive"
      actions   = ["sqs:ListDeadLetterSourceQueues", "sqs:ListMessageMoveTasks", "sqs:StartMessageMoveTask", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
      resources = [aws_sqs_queue.dead_letter.arn]
    }
  }

  dynamic "statement" {
    for_each = aws_kms_key.queue
    content {
      sid       = "Key"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value.arn]
    }
  }
}

resource "aws_iam_role" "queue" {
  name_prefix        = "queuebinding-"
  description        = "The QueueBinding operator on the queue ${var.queue_name}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags

  lifecycle {
    precondition {
      condition     = var.trust != "irsa" || var.oidc_provider_arn != ""
      error_message = "trust = \"irsa\" needs oidc_provider_arn."
    }
    precondition {
      condition     = var.trust != "operator" || var.operator_role_arn != ""
      error_message = "trust = \"operator\" needs operator_role_arn."
    }
  }
}

resource "aws_iam_role_policy" "queue" {
  name   = "queue"
  role   = aws_iam_role.queue.id
  policy = data.aws_iam_policy_document.queue.json
}

resource "aws_eks_pod_identity_association" "operator" {
  count           = var.trust == "pod_identity" && var.eks_cluster_name != "" ? 1 : 0
  cluster_name    = var.eks_cluster_name
  namespace       = var.operator_namespace
  service_account = var.operator_service_account
  role_arn        = aws_iam_role.queue.arn
}
