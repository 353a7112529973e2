package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Annotations by which an archive says what its images are called.
const (
	// nameAnnotation is what containerd reads: the whole name.
	nameAnnotation = "io.containerd.image.name"
	// refAnnotation is OCI's own.
	refAnnotation = "org.opencontainers.image.ref.name"
)

// WriteArchive writes images as an OCI archive, in place of what path held.
func WriteArchive(path string, images ...Image) error {
	return writeArchive(path, func(written layout.Path) error {
		for _, image := range images {
			built, err := image.Build()
			if err != nil {
				return fmt.Errorf("making image %q: %w", image.Names, err)
			}
			for _, name := range image.Names {
				if err := written.AppendImage(built, named(name)); err != nil {
					return fmt.Errorf("writing image %s: %w", name, err)
				}
			}
		}
		return nil
	})
}

// WriteIndex writes an image for several platforms in the same way.
func WriteIndex(path, name string, index v1.ImageIndex) error {
	return writeArchive(path, func(written layout.Path) error {
		if err := written.AppendIndex(index, named(name)); err != nil {
			return fmt.Errorf("writing image %s: %w", name, err)
		}
		return nil
	})
}

// ReadIndex unpacks an archive with one image for several platforms into an empty folder, which the image is read from later on.
func ReadIndex(path, dir string) (v1.ImageIndex, error) {
	if err := unpack(path, dir); err != nil {
		return nil, err
	}
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("reading an image layout: %w", err)
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading an image layout: %w", err)
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images, not one", path, len(manifest.Manifests))
	}
	index, err := all.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return index, nil
}

func named(name string) layout.Option {
	return layout.WithAnnotations(map[string]string{nameAnnotation: name, refAnnotation: name})
}

func writeArchive(path string, add func(layout.Path) error) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".image-")
	if err != nil {
		return fmt.Errorf("making a directory for images: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	contents := filepath.Join(dir, "layout")
	written, err := layout.Write(contents, empty.Index)
	if err != nil {
		return fmt.Errorf("writing an image layout: %w", err)
	}
	if err := add(written); err != nil {
		return err
	}
	packed := filepath.Join(dir, "archive")
	if err := pack(packed, contents); err != nil {
		return err
	}
	if err := os.Rename(packed, path); err != nil {
		return fmt.Errorf("putting the archive in place: %w", err)
	}
	return nil
}

// pack writes all files of dir as a tar archive.
func pack(path, dir string) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("packing an archive: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	archive := tar.NewWriter(file)
	walk := func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		header := &tar.Header{Name: name, Mode: 0o644, ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if entry.IsDir() {
			header.Name, header.Mode, header.Typeflag = name+"/", 0o755, tar.TypeDir
			return archive.WriteHeader(header)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		header.Size = int64(len(data))
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	}
	if err := fs.WalkDir(os.DirFS(dir), ".", walk); err != nil {
		return fmt.Errorf("packing an archive: %w", err)
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("packing an archive: %w", err)
	}
	return nil
}

// unpack writes the files of a tar archive into dir. An entry that would lie outside is an error.
func unpack(path, dir string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("unpacking an archive: %w", err)
	}
	defer file.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpacking an archive: %w", err)
	}
	defer root.Close()
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpacking %s: %w", path, err)
		}
		switch header.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(filepath.Clean(header.Name), 0o755)
		case tar.TypeReg:
			err = writeEntry(root, header.Name, archive)
		default:
			err = fmt.Errorf("%s is neither a file nor a directory", header.Name)
		}
		if err != nil {
			return fmt.Errorf("unpacking %s: %w", path, err)
		}
	}
}

func writeEntry(root *os.Root, name string, content io.Reader) error {
	file, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
