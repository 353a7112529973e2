// Package openapi holds the generated OpenAPI definitions of the aggregated API's kinds.
package openapi
