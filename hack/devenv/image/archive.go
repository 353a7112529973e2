package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

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
func WriteArchive(path string, images ...Image) (err error) {
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
	for _, image := range images {
		built, err := image.build()
		if err != nil {
			return fmt.Errorf("making image %q: %w", image.Names, err)
		}
		for _, name := range image.Names {
			if err := written.AppendImage(built, layout.WithAnnotations(map[string]string{nameAnnotation: name, refAnnotation: name})); err != nil {
				return fmt.Errorf("writing image %s: %w", name, err)
			}
		}
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
