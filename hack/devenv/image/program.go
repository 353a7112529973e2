package image

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// NonRoot is the user of the operator's Dockerfile.
const NonRoot = "65532:65532"

// Programs is an image with static programs, which run without root; the first is the entrypoint. What the Dockerfile builds differs in its base:
// this one has no certificates of the world's authorities, and so reaches no service by HTTPS but those whose
// certificates it is given.
func Programs(imageName string, paths ...string) (Image, error) {
	full, err := FullName(imageName)
	if err != nil {
		return Image{}, err
	}
	files := []File{{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777}}
	for _, path := range paths {
		files = append(files, File{Path: "/" + filepath.Base(path), Mode: 0o755, Source: path})
	}
	return Image{Names: []string{full}, Files: files, Entrypoint: []string{"/" + filepath.Base(paths[0])}, User: NonRoot}, nil
}

// FullName is the name of an image as the kubelet asks the container runtime for it: with the registry that a short one
// means, and its tag.
func FullName(short string) (string, error) {
	reference, err := name.ParseReference(short)
	if err != nil {
		return "", fmt.Errorf("reading the name of an image: %w", err)
	}
	// The library calls Docker's registry by its other name.
	return strings.Replace(reference.Name(), name.DefaultRegistry+"/", "docker.io/", 1), nil
}
