package main

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// stubs are programs for two platforms, without what makes them programs.
func stubs(t *testing.T) []program {
	t.Helper()
	var programs []program
	for _, arch := range []string{"amd64", "arm64"} {
		for _, called := range []string{plugin, manager, server} {
			path := filepath.Join(t.TempDir(), called)
			if err := os.WriteFile(path, []byte(called+" for "+arch), 0o755); err != nil {
				t.Fatal(err)
			}
			programs = append(programs, program{platform: platform{"linux", arch}, name: called, path: path})
		}
	}
	return programs
}

func TestTheImageHasEachPlatformsPrograms(t *testing.T) {
	host, dist := localRegistry(t), t.TempDir()
	digest := pushBase(t, host+"/static:nonroot", "arm64", "amd64").String()
	below, err := pull(t.Context(), host+"/static:nonroot")
	if err != nil {
		t.Fatal(err)
	}
	if pinned, err := pull(t.Context(), host+"/static:nonroot@"+digest); err != nil || pinned.name != below.name || pinned.digest != digest {
		t.Errorf("got base %s %s (%v), want the same where its digest is pinned", pinned.name, pinned.digest, err)
	}
	made := release{Version: tagged, Commit: "c0ffee", Date: time.Date(2026, 11, 25, 11, 0, 0, 0, time.UTC), Image: host + "/queuebinding:" + tagged, Base: below.name, BaseDigest: below.digest}
	if made.BaseDigest != digest {
		t.Errorf("got base %s, want %s", made.BaseDigest, digest)
	}
	built, err := writeImage(filepath.Join(dist, made.imageArchive()), below, made, stubs(t))
	if err != nil {
		t.Fatal(err)
	}
	made.Image += "@" + built
	if err := writeJSON(releaseFile(dist), made); err != nil {
		t.Fatal(err)
	}
	if err := push(t.Context(), dist, io.Discard); err != nil {
		t.Fatal(err)
	}
	reference, err := name.ParseReference(made.tag())
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		pulled, err := remote.Image(reference, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		file, err := pulled.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if file.Architecture != arch || !file.Created.Equal(made.Date) {
			t.Errorf("got an image for %s of %s, want one for %s of %s", file.Architecture, file.Created, arch, made.Date)
		}
		layers, err := pulled.Layers()
		if err != nil || len(layers) != 2 {
			t.Fatalf("got %d layers (%v), want the base's and one more", len(layers), err)
		}
		compressed, err := layers[1].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(compressed)
		if err != nil {
			t.Fatal(err)
		}
		files := untar(t, data)
		if len(files) != 2 || string(files[manager]) != "manager for "+arch || string(files[server]) != server+" for "+arch {
			t.Errorf("got %q for %s, want manager and server", files, arch)
		}
	}

	// An archive that was exchanged is not what the manifests name.
	made.Image = strings.Replace(made.Image, "@sha256:", "@sha256:0", 1)
	if err := writeJSON(releaseFile(dist), made); err != nil {
		t.Fatal(err)
	}
	if err := push(t.Context(), dist, io.Discard); err == nil || !strings.Contains(err.Error(), built) {
		t.Errorf("got %v, want that the archive has another image", err)
	}
}

func TestNoImageForAPlatformThatTheBaseIsNotFor(t *testing.T) {
	host := localRegistry(t)
	pushBase(t, host+"/static:nonroot", "amd64")
	below, err := pull(t.Context(), host+"/static:nonroot")
	if err != nil {
		t.Fatal(err)
	}
	made := release{Version: tagged, Image: host + "/queuebinding:" + tagged}
	if _, err := writeImage(filepath.Join(t.TempDir(), "image.tar"), below, made, stubs(t)); err == nil || !strings.Contains(err.Error(), "is not for linux/arm64") {
		t.Errorf("got %v, want that the base is not for linux/arm64", err)
	}
}

func TestArchivesForWindowsAreZIP(t *testing.T) {
	made := release{Version: tagged}
	path := filepath.Join(t.TempDir(), made.archive(platform{"windows", "amd64"}))
	source := stubs(t)[0].path
	if err := pack(path, time.Date(2026, 11, 25, 11, 0, 0, 0, time.UTC), []packed{{platform{"windows", "amd64"}.file(plugin), source, 0o755}}); err != nil {
		t.Fatal(err)
	}
	data := read(t, path)
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if len(archive.File) != 1 || archive.File[0].Name != "kubectl-queuebinding.exe" || archive.File[0].Mode().Perm() != 0o755 {
		t.Errorf("got %+v, want one program", archive.File)
	}
}
