package sqs

import (
	"context"
	"errors"
	"fmt"
	"io"
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

	"AccessDenied":                        queue.AccessDenied,
	"AccessDeniedException":               queue.AccessDenied,
	"AuthFailure":                         queue.AccessDenied,
	"ExpiredToken":                        queue.AccessDenied,
	"ExpiredTokenException":               queue.AccessDenied,
	"IncompleteSignatureException":        queue.AccessDenied,
	"InvalidSignatureException":           queue.AccessDenied,
	"MissingAuthenticationTokenException": queue.AccessDenied,
	"RequestExpired":                      queue.AccessDenied,
	"IncompleteSignature":                 queue.AccessDenied,
	"InvalidAccessKeyId":                  queue.AccessDenied,
	"InvalidClientTokenId":                queue.AccessDenied,
	"InvalidSecurity":                     queue.AccessDenied,
	"MissingAuthenticationToken":          queue.AccessDenied,
	"NotAuthorized":                       queue.AccessDenied,
	"OptInRequired":                       queue.AccessDenied,
	"SignatureDoesNotMatch":               queue.AccessDenied,
	"UnrecognizedClientException":         queue.AccessDenied,

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

	"InvalidMessageContents":                        queue.InvalidMessage,
	"InvalidParameterValue":                         queue.InvalidMessage,
	"InvalidAttributeValue":                         queue.InvalidMessage,
	"MissingParameter":                              queue.InvalidMessage,
	"AWS.SimpleQueueService.BatchRequestTooLong":    queue.InvalidMessage,
	"AWS.SimpleQueueService.InvalidMessageContents": queue.InvalidMessage,
	"BatchRequestTooLong":                           queue.InvalidMessage,

	"ReceiptHandleIsInvalid":                    queue.ReceiptHandleInvalid,
	"InvalidIdFormat":                           queue.ReceiptHandleInvalid,
	"AWS.SimpleQueueService.MessageNotInflight": queue.ReceiptHandleInvalid,
	"MessageNotInflight":                        queue.ReceiptHandleInvalid,
}

// classify makes a *queue.Error of the SDK's errors. What SQS blames on the request is invalid for the given reason: only
// who asked knows which of its parts is not a constant.
func classify(err error, invalid queue.Reason) error {
	if known, ok := errors.AsType[*queue.Error](err); ok { // from the credentials provider
		return &queue.Error{Reason: known.Reason, Err: known}
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return entryError(api.ErrorCode(), api.ErrorMessage(), invalid)
	}
	// What is left is the way to SQS.
	return queue.Errorf(queue.Unreachable, "no answer from SQS: %w", cause(err))
}

// entryError is the error of an error code.
func entryError(code, message string, invalid queue.Reason) error {
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
	if reason == queue.InvalidMessage {
		reason = invalid
	}
	if invalid == queue.InvalidMessage && (reason == invalid || reason == queue.Unreachable) {
		return queue.Errorf(reason, "SQS answered %s", code) // its words may quote the message that was sent
	}
	// What follows the first line are the signed parts of the request, with its time.
	message, _, _ = strings.Cut(message, "\n")
	return queue.Errorf(reason, "SQS answered %s: %s", code, message)
}

// cause is what broke the way to SQS, without what differs each time, such as our own port of the connection: that would
// make a new status of every failure.
func cause(err error) error {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("lookup %s: %s", lookup.Name, lookup.Err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	if connection, ok := errors.AsType[*net.OpError](err); ok && connection.Op == "dial" && connection.Addr != nil {
		return fmt.Errorf("dial %s: %w", connection.Addr, connection.Err)
	}
	if transport, ok := errors.AsType[*url.Error](err); ok && !isConnection(transport.Err) {
		return transport.Err
	}
	return errors.New("the connection broke")
}

// isConnection reports whether an established connection broke.
func isConnection(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// plain is an error without the request ID that the SDK puts into its text, which differs each time.
func plain(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	return cause(err)
}
