// Package openapi holds the OpenAPI definitions of the aggregated API's kinds: ours, which are generated, and those of
// Kubernetes that they are made of.
package openapi
