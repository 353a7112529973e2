package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is an image of one layer, or of one more than its base has.
type Image struct {
	// Names are what it can be asked for by, with registry and tag, as container runtimes keep them.
	Names      []string
	Files      []File
	Entrypoint []string
	Cmd        []string
	User       string
	// Env replaces the base's, if there is any.
	Env    []string
	Labels map[string]string
	// Base is what the layer is put on. Default: nothing.
	Base v1.Image
	// Architecture is what the programs are built for, as Go calls it. Default: that of this machine.
	Architecture string
	// Created is when the image says that it was made, and its files. Default: 1970.
	Created time.Time
}

// File is one entry of the layer. It belongs to root.
type File struct {
	Path string
	Mode fs.FileMode
	// Data is the content, or the target of a link. Source is the file whose content it is, if there is no data.
	Data, Source string
}

// Build makes the image. The same files give the same image, whenever it is built.
func (i Image) Build() (v1.Image, error) {
	layer, err := i.layer()
	if err != nil {
		return nil, err
	}
	base := i.Base
	if base == nil {
		base = empty.Image
	}
	base = mutate.ConfigMediaType(mutate.MediaType(base, types.OCIManifestSchema1), types.OCIConfigJSON)
	history := v1.History{Created: v1.Time{Time: i.Created}, CreatedBy: "queuebinding"}
	built, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: history})
	if err != nil {
		return nil, fmt.Errorf("adding the layer: %w", err)
	}
	config, err := built.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", cmp.Or(i.Architecture, runtime.GOARCH)
	config.Created = v1.Time{Time: i.Created}
	env := config.Config.Env
	if len(i.Env) > 0 {
		env = i.Env
	}
	config.Config = v1.Config{Entrypoint: i.Entrypoint, Cmd: i.Cmd, User: i.User, Env: env, Labels: i.Labels}
	if built, err = mutate.ConfigFile(built, config); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return built, nil
}

func (i Image) layer() (v1.Layer, error) {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	for _, file := range i.Files {
		if err := file.addTo(archive, i.Created); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("packing a layer: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("packing a layer: %w", err)
	}
	return layer, nil
}

func (f File) addTo(archive *tar.Writer, changed time.Time) error {
	if changed.IsZero() {
		changed = time.Unix(0, 0)
	}
	header := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()), ModTime: changed, Format: tar.FormatPAX}
	if f.Mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000
	}
	data := []byte(f.Data)
	switch {
	case f.Mode.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	case f.Mode&fs.ModeSymlink != 0:
		header.Typeflag, header.Linkname, data = tar.TypeSymlink, f.Data, nil
	default:
		header.Typeflag = tar.TypeReg
		if f.Source != "" {
			var err error
			if data, err = os.ReadFile(f.Source); err != nil {
				return fmt.Errorf("packing %s: %w", f.Path, err)
			}
		}
		header.Size = int64(len(data))
	}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("packing %s: %w", f.Path, err)
	}
	if _, err := archive.Write(data); err != nil {
		return fmt.Errorf("packing %s: %w", f.Path, err)
	}
	return nil
}
