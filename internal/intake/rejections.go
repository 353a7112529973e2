package intake

import (
	"sync/atomic"
	"time"
)

// A message that was rejected, or whose Job failed, is hidden for minRetryDelay, and twice as long at each further receive up
// to maxRetryDelay.
const (
	minRetryDelay = 30 * time.Second
	maxRetryDelay = 15 * time.Minute
)

// singleReceives is how long a FIFO queue is received from one message at a time after a message was rejected, as the messages
// behind it have to be given back and that counts for their redrive.
const singleReceives = maxRetryDelay

// rejections remembers how many messages in a row were rejected, and until when the last one matters.
type rejections struct {
	inRow atomic.Int64
	until atomic.Int64 // in Unix seconds
}

// add takes in a rejection and returns how many there were in a row.
func (r *rejections) add(now time.Time) int64 {
	r.until.Store(now.Add(singleReceives).Unix())
	return r.inRow.Add(1)
}

// reset says that a message was not rejected.
func (r *rejections) reset() { r.inRow.Store(0) }

// lately reports whether a message was rejected within singleReceives.
func (r *rejections) lately(now time.Time) bool { return now.Unix() < r.until.Load() }

// retryDelay returns how long a message is hidden that could not become a Job, or whose Job failed, at its n-th receive.
func retryDelay(receives int) time.Duration {
	delay := minRetryDelay
	for range receives - 1 {
		if delay *= 2; delay >= maxRetryDelay {
			return maxRetryDelay
		}
	}
	return delay
}
