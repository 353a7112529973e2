package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func entries(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = data
	}
}

func TestArchiveNamesItsImages(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	image := Image{
		Names:      []string{"docker.io/library/a:1", "docker.io/library/b:2"},
		Files:      []File{{Path: "/bin", Mode: fs.ModeDir | 0o755}, {Path: "/bin/program", Mode: 0o755, Source: program}},
		Entrypoint: []string{"/bin/program"},
		User:       "65532:65532",
	}
	read := func(name string) []byte {
		path := filepath.Join(dir, name)
		if err := WriteArchive(path, image); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first := read("first.tar")
	contents := entries(t, first)
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(contents["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 2 {
		t.Fatalf("got %d manifests, want one for each name", len(index.Manifests))
	}
	for i, manifest := range index.Manifests {
		if got := manifest.Annotations[nameAnnotation]; got != image.Names[i] {
			t.Errorf("got name %q, want %q", got, image.Names[i])
		}
		if _, ok := contents["blobs/sha256/"+strings.TrimPrefix(manifest.Digest, "sha256:")]; !ok {
			t.Errorf("manifest %s is not in the archive", manifest.Digest)
		}
	}
	if !bytes.Equal(first, read("second.tar")) {
		t.Error("the same files gave another archive")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".image-*")); err != nil || len(left) > 0 {
		t.Errorf("left %q behind (%v)", left, err)
	}
}

func TestFullName(t *testing.T) {
	for short, want := range map[string]string{
		"queuebinding:dev":           "docker.io/library/queuebinding:dev",
		"me/queuebinding":            "docker.io/me/queuebinding:latest",
		"example.com:5000/a/b:1":     "example.com:5000/a/b:1",
		"docker.io/library/alpine:3": "docker.io/library/alpine:3",
	} {
		if got, err := FullName(short); err != nil || got != want {
			t.Errorf("%s: got %q (%v), want %q", short, got, err, want)
		}
	}
	if _, err := FullName("No Name"); err == nil {
		t.Error("nonsense was accepted")
	}
}
