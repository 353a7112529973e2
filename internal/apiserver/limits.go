package apiserver

import "time"

// The bounds of a request, and of all together. The flow control of the API server in front shares these out among callers;
// what is beyond them is told to come again in a second.
const (
	// requestTimeout bounds a request, with the review of its caller. The process waits for those under way when it
	// ends.
	requestTimeout = 30 * time.Second
	// maxRequestBodyBytes bounds a body: a thousand names of the greatest length are half of this.
	maxRequestBodyBytes = 512 << 10
	// maxMutatingRequests is how many requeues are handled at a time. Each may take about 5 MiB: the body as it was sent and
	// decoded, the answer, and a page of Jobs' metadata.
	maxMutatingRequests = 20
	// maxReadingRequests is how many other requests are: discovery and descriptions.
	maxReadingRequests = 40
	// maxConnections is how many connections there are at a time, of whoever reaches the port. An API server in front keeps one or
	// two; a connection that does nothing is closed after 90 s.
	maxConnections = 256
	// bindingLocks is how many requests for different bindings write at a time. Bindings share a lock by chance, which costs a
	// wait and nothing else.
	bindingLocks = 64
)
