package apiserver

import "time"

// The bounds of a request.
const (
	// requestTimeout bounds a request, with the reviews of its caller. The operator ends within 45 s and waits for those under
	// way.
	requestTimeout = 30 * time.Second
	// reviewTimeout bounds a review of who a caller is or what they may do, by the cluster's API server.
	reviewTimeout = 10 * time.Second
	// maxRequestBodyBytes bounds a body: a thousand names of the greatest length are a quarter of this.
	maxRequestBodyBytes = 1 << 20
	// bindingLocks is how many requests for different bindings write at a time. Bindings share a lock by chance, which costs a
	// wait and nothing else.
	bindingLocks = 64
)
