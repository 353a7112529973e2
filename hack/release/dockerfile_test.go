package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

func TestPin(t *testing.T) {
	host := localRegistry(t)
	digests := map[string]string{}
	for _, tag := range []string{"/golang:1", "/distroless/static:nonroot"} {
		digests[tag] = pushBase(t, host+tag, "amd64").String()
	}
	text := "# FROM is what counts.\nFROM --platform=$BUILDPLATFORM %s/golang:1 AS build\nRUN true\n\nFROM %s/distroless/static:nonroot\nCOPY --from=build /a /\n"
	dockerfile := filepath.Join(t.TempDir(), "Dockerfile")
	write := func(text string) string {
		t.Helper()
		if err := os.WriteFile(dockerfile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return text
	}
	plain := write(strings.ReplaceAll(text, "%s", host))
	want := strings.NewReplacer("/golang:1", "/golang:1@"+digests["/golang:1"], "static:nonroot", "static:nonroot@"+digests["/distroless/static:nonroot"]).Replace(plain)
	for range 2 { // what is pinned is pinned anew
		if err := pin(t.Context(), dockerfile, io.Discard); err != nil {
			t.Fatal(err)
		}
		if got := string(read(t, dockerfile)); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}

	silent := write(strings.Replace(plain, host+"/distroless", "127.0.0.1:1/distroless", 1))
	if err := pin(t.Context(), dockerfile, io.Discard); err == nil || !strings.Contains(err.Error(), "nothing was pinned") || !strings.Contains(err.Error(), "127.0.0.1:1/distroless/static:nonroot") {
		t.Errorf("got %v, want that one registry did not answer", err)
	}
	if got := string(read(t, dockerfile)); got != silent {
		t.Errorf("got\n%s\nwant it as it was", got)
	}
}

// What is built with, wherever that is, is one version of Go; and the Dockerfile says which build it makes where the programs look.
func TestTheDockerfileBuildsTheSame(t *testing.T) {
	dockerfile := string(read(t, "..", "..", "Dockerfile"))
	version := regexp.MustCompile(`(?m)^FROM --platform=\$BUILDPLATFORM golang:(\d+\.\d+\.\d+)(@sha256:\S+)? AS build$`).FindStringSubmatch(dockerfile)
	if version == nil {
		t.Fatal("the Dockerfile has no exact version of Go")
	}
	for _, workflow := range []string{"ci.yaml", "release.yaml"} {
		if !strings.Contains(string(read(t, "..", "..", ".github", "workflows", workflow)), "go-version: "+version[1]+"\n") {
			t.Errorf("%s has another version of Go than %s", workflow, version[1])
		}
	}
	flags := regexp.MustCompile(`-ldflags="([^"]+)"`).FindStringSubmatch(dockerfile)
	if flags == nil {
		t.Fatal("the Dockerfile links without flags")
	}
	program := filepath.Join(t.TempDir(), plugin)
	linked := strings.NewReplacer("${VERSION}", "v9.8.7", "${COMMIT}", "c0ffee", "${DATE}", "2026-11-25T11:00:00Z").Replace(flags[1])
	build := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join("..", ".."), "-trimpath", "-buildvcs=false", "-ldflags="+linked, "-o", program, packages[plugin])
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if got, want := said(t, program, "version"), "kubectl-queuebinding v9.8.7 (commit c0ffee of 2026-11-25T11:00:00Z, "+runtime.Version(); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
