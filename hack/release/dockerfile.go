package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// from finds the images that a Dockerfile is built from: what is ahead of the image's name, and the name.
var from = regexp.MustCompile(`(?m)^(FROM (?:--\S+ )*)(\S+)`)

// baseOfDockerfile is the image that the last stage begins with.
func baseOfDockerfile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	stages := from.FindAllSubmatch(text, -1)
	if len(stages) == 0 {
		return "", fmt.Errorf("%s has no FROM", path)
	}
	return string(stages[len(stages)-1][2]), nil
}

// pin writes behind each image of a Dockerfile the digest that its registry has for its tag today. If one registry does not answer the
// file stays as it is.
func pin(ctx context.Context, path string, out io.Writer) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var failure error
	pinned := from.ReplaceAllFunc(text, func(line []byte) []byte {
		parts := from.FindSubmatch(line)
		tag, _, _ := strings.Cut(string(parts[2]), "@")
		digest, err := look(ctx, tag)
		if err != nil {
			failure = fmt.Errorf("nothing was pinned, %s is as it was: %w", path, err)
			return line
		}
		fmt.Fprintf(out, "%s is %s\n", tag, digest)
		return []byte(string(parts[1]) + tag + "@" + digest)
	})
	if failure != nil {
		return failure
	}
	return os.WriteFile(path, pinned, 0o644)
}

// look asks a registry for the digest of a tag.
func look(ctx context.Context, tag string) (string, error) {
	reference, err := name.NewTag(tag)
	if err != nil {
		return "", fmt.Errorf("%s: %w", tag, err)
	}
	found, err := remote.Get(reference, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return "", fmt.Errorf("the registry has no digest of %s: %w", tag, err)
	}
	return found.Digest.String(), nil
}
