package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/queuebinding/queuebinding/hack/devenv/image"
)

// What the image is of, in OCI's own words.
const (
	labelPrefix = "org.opencontainers.image."
	source      = "https://github.com/queuebinding/queuebinding"
)

// writeImage writes the image of operator and server, for each platform that there are programs of, as an OCI archive. It is what the
// Dockerfile builds. It returns the image's digest.
func writeImage(path string, below base, made release, programs []program) (digest string, err error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, main := range programs {
		if main.name != manager {
			continue
		}
		built, err := below.put(made, main, programs)
		if err != nil {
			return "", fmt.Errorf("making the image for %s: %w", main.platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: built, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: main.os, Architecture: main.arch},
		}})
	}
	labelled, ok := mutate.Annotations(index, made.labels()).(v1.ImageIndex)
	if !ok {
		return "", fmt.Errorf("labelling the image made something else of it")
	}
	hash, err := labelled.Digest()
	if err != nil {
		return "", fmt.Errorf("making the image: %w", err)
	}
	return hash.String(), image.WriteIndex(path, made.Image, labelled)
}

// labels are what the image says of itself.
func (r release) labels() map[string]string {
	return map[string]string{
		labelPrefix + "title":       "queuebinding",
		labelPrefix + "description": "Turns the messages of SQS queues into Jobs",
		labelPrefix + "version":     r.Version,
		labelPrefix + "revision":    r.Commit,
		labelPrefix + "created":     r.Date.Format(time.RFC3339),
		labelPrefix + "source":      source,
		labelPrefix + "licenses":    "Apache-2.0",
		labelPrefix + "base.name":   r.Base,
		labelPrefix + "base.digest": r.BaseDigest,
	}
}

// base is what the image is put on.
type base struct {
	index        v1.ImageIndex
	name, digest string
}

// pull finds an image for several platforms in its registry.
func pull(ctx context.Context, reference string) (base, error) {
	parsed, err := name.ParseReference(reference)
	if err != nil {
		return base{}, err
	}
	found, err := remote.Get(parsed, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return base{}, fmt.Errorf("%s: %w", reference, err)
	}
	index, err := found.ImageIndex()
	if err != nil {
		return base{}, fmt.Errorf("%s: %w", reference, err)
	}
	// Named by its tag, whether or not it was asked for by its digest: the same base gives the same image.
	tag, _, _ := strings.Cut(reference, "@")
	return base{index, tag, found.Digest.String()}, nil
}

// put puts the programs of a platform on the base.
func (b base) put(made release, main program, programs []program) (v1.Image, error) {
	below, err := b.of(main.platform)
	if err != nil {
		return nil, err
	}
	packed := image.Image{
		Base: below, Architecture: main.arch, Created: made.Date, Labels: made.labels(),
		Entrypoint: []string{"/" + manager}, User: image.NonRoot,
	}
	for _, p := range programs {
		if p.platform == main.platform && p.name != plugin {
			packed.Files = append(packed.Files, image.File{Path: "/" + p.name, Mode: 0o755, Source: p.path})
		}
	}
	return packed.Build()
}

func (b base) of(p platform) (v1.Image, error) {
	manifest, err := b.index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.Platform != nil && m.Platform.OS == p.os && m.Platform.Architecture == p.arch {
			return b.index.Image(m.Digest)
		}
	}
	return nil, fmt.Errorf("%s is not for %s", b.name, p)
}

// push pushes the image under the name and the digest that manifests have for it.
func push(ctx context.Context, dist string, out io.Writer) error {
	made, err := readRelease(dist)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	index, err := image.ReadIndex(filepath.Join(dist, made.imageArchive()), dir)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	tag, err := name.NewTag(made.tag())
	if err != nil {
		return err
	}
	if made.Image != made.tag()+"@"+digest.String() {
		return fmt.Errorf("the archive has image %s, and manifests name %s", digest, made.Image)
	}
	if err := remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing %s: %w", made.Image, err)
	}
	fmt.Fprintf(out, "Pushed %s\n", made.Image)
	return nil
}
