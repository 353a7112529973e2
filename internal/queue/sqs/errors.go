package sqs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// reasons are the error codes of SQS and of AWS's common errors, as the JSON and the older query protocol spell them.
// Codes that are not here mean that the service is broken or cannot be reached.
var reasons = map[string]queue.Reason{
	"QueueDoesNotExist":                           queue.NotFound,
	"AWS.SimpleQueueService.NonExistentQueue":     queue.NotFound,
	"ResourceNotFoundException":                   queue.NotFound,
	"QueueDeletedRecently":                        queue.NotFound,
	"AWS.SimpleQueueService.QueueDeletedRecently": queue.NotFound,

	"AccessDenied":                queue.AccessDenied,
	"AccessDeniedException":       queue.AccessDenied,
	"AuthFailure":                 queue.AccessDenied,
	"ExpiredToken":                queue.AccessDenied,
	"ExpiredTokenException":       queue.AccessDenied,
	"IncompleteSignature":         queue.AccessDenied,
	"InvalidAccessKeyId":          queue.AccessDenied,
	"InvalidClientTokenId":        queue.AccessDenied,
	"InvalidSecurity":             queue.AccessDenied,
	"MissingAuthenticationToken":  queue.AccessDenied,
	"NotAuthorized":               queue.AccessDenied,
	"OptInRequired":               queue.AccessDenied,
	"SignatureDoesNotMatch":       queue.AccessDenied,
	"UnrecognizedClientException": queue.AccessDenied,

	"OverLimit":                 queue.Throttled, // 120,000 messages in flight
	"RequestLimitExceeded":      queue.Throttled,
	"RequestThrottled":          queue.Throttled,
	"SlowDown":                  queue.Throttled,
	"Throttling":                queue.Throttled,
	"ThrottlingException":       queue.Throttled,
	"ThrottledException":        queue.Throttled,
	"RequestThrottledException": queue.Throttled,
	"TooManyRequestsException":  queue.Throttled,

	"InvalidAddress": queue.InvalidQueue,

	"InvalidMessageContents": queue.InvalidMessage,
	"InvalidParameterValue":  queue.InvalidMessage,
	"InvalidAttributeValue":  queue.InvalidMessage,
	"MissingParameter":       queue.InvalidMessage,
	"BatchRequestTooLong":    queue.InvalidMessage,

	"ReceiptHandleIsInvalid": queue.ReceiptHandleInvalid,
	"InvalidIdFormat":        queue.ReceiptHandleInvalid,
	"MessageNotInflight":     queue.ReceiptHandleInvalid,
}

// classify makes a *queue.Error of the SDK's errors.
func classify(err error) error {
	if known, ok := errors.AsType[*queue.Error](err); ok { // from the credentials provider
		return &queue.Error{Reason: known.Reason, Err: known}
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return entryError(api.ErrorCode(), api.ErrorMessage())
	}
	// What is left is the way to SQS.
	return queue.Errorf(queue.Unreachable, "no answer from SQS: %w", cause(err))
}

// entryError is the error of an error code.
func entryError(code, message string) error {
	// The query protocol puts the fault in front of the code: "AWS.SimpleQueueService.…" stays, "com.amazonaws.sqs#…" goes.
	if i := strings.LastIndexByte(code, '#'); i >= 0 {
		code = code[i+1:]
	}
	reason, ok := reasons[code]
	if !ok {
		reason = queue.Unreachable
		if lower := strings.ToLower(code); strings.HasPrefix(lower, "kms") {
			reason = queue.KMSError
			if strings.Contains(lower, "throttl") {
				reason = queue.Throttled
			}
		}
	}
	return queue.Errorf(reason, "SQS answered %s: %s", code, message)
}

// cause is what broke the way to SQS, without the SDK's account of attempts and without our own port of the
// connection: both differ each time, and would make a new status and a new event of every failure.
func cause(err error) error {
	var connection *net.OpError
	switch {
	case errors.As(err, &connection):
		return fmt.Errorf("%s %s: %w", connection.Op, connection.Addr, connection.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	if transport, ok := errors.AsType[*url.Error](err); ok {
		return transport.Err
	}
	return err
}
