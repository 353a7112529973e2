// Package openapi holds the OpenAPI definitions of the requeue subresource, generated from its types. This file is there
// for tools that leave generated ones aside.
package openapi
