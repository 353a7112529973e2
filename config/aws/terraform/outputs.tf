output "queue_url" {
  description = "For spec.queue.url."
  value       = aws_sqs_queue.queue.url
}

output "queue_arn" {
  description = "For the annotation queuebinding.dev/allowed-queues of the Namespace."
  value       = aws_sqs_queue.queue.arn
}

output "dead_letter_queue_url" {
  description = "The dead-letter queue."
  value       = aws_sqs_queue.dead_letter.url
}

output "role_arn" {
  description = "The operator's, or with trust = \"operator\" the binding's, for spec.queue.credentials.roleARN."
  value       = aws_iam_role.queue.arn
}
