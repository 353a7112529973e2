// Package image packs programs into container images without a container engine: one layer, and an OCI archive of one or
// several images that a container runtime can import.
package image
