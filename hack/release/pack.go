package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// packed is a file of an archive.
type packed struct {
	name, path string
	mode       fs.FileMode
}

// pack writes an archive of the kind that its name says, with all files of one date and nobody's.
func pack(archive string, date time.Time, files []packed) (err error) {
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	add, end := addToTar(out)
	if strings.HasSuffix(archive, ".zip") {
		add, end = addToZip(out)
	}
	for _, file := range files {
		data, err := os.ReadFile(file.path)
		if err != nil {
			return fmt.Errorf("packing %s: %w", archive, err)
		}
		if err := add(file, data, date); err != nil {
			return fmt.Errorf("packing %s: %w", archive, err)
		}
	}
	if err := end(); err != nil {
		return fmt.Errorf("packing %s: %w", archive, err)
	}
	return nil
}

type adder func(packed, []byte, time.Time) error

func addToTar(out io.Writer) (adder, func() error) {
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	add := func(file packed, data []byte, date time.Time) error {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: file.name, Mode: int64(file.mode), Size: int64(len(data)), ModTime: date}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(data)
		return err
	}
	return add, func() error { return errors.Join(archive.Close(), compressed.Close()) }
}

func addToZip(out io.Writer) (adder, func() error) {
	archive := zip.NewWriter(out)
	add := func(file packed, data []byte, date time.Time) error {
		header := &zip.FileHeader{Name: file.name, Method: zip.Deflate, Modified: date}
		header.SetMode(file.mode)
		entry, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		_, err = entry.Write(data)
		return err
	}
	return add, archive.Close
}
