package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/queuebinding/queuebinding/hack/devenv/image"
	spdxjson "github.com/spdx/tools-golang/json"
	"sigs.k8s.io/yaml"
)

// tagged is the version that the tests release.
const tagged = "v1.2.3"

// TestRelease makes two releases of the same commit, in two folders, and looks at what is in them. RELEASE_WHOLE=1 makes them for all
// platforms, and compiles everything anew for the second.
func TestRelease(t *testing.T) {
	host := localRegistry(t)
	platforms := []string{"linux/" + runtime.GOARCH}
	var fresh string
	if os.Getenv("RELEASE_WHOLE") != "" {
		platforms, fresh = allPlatforms, t.TempDir()
	}
	standIn := host + "/distroless/static:nonroot"
	pushBase(t, standIn, "amd64", "arm64")
	public, key := newKey(t)
	build := func(env ...string) string {
		t.Helper()
		dir := checkout(t)
		cmd := exec.CommandContext(t.Context(), "make", "-C", dir, "release", "REPOSITORY="+host+"/queuebinding", "BASE="+standIn, "PLATFORMS="+strings.Join(platforms, ","))
		cmd.Env = append(os.Environ(), append(env, "MAKEFLAGS=", keyVariable+"="+key)...)
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return filepath.Join(dir, "dist")
	}
	dist := build()
	second := build("GOCACHE=" + cmp.Or(fresh, os.Getenv("GOCACHE")))
	made, err := readRelease(dist)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("is the same bytes wherever it is built", func(t *testing.T) { sameBytes(t, dist, second) })
	t.Run("is of nothing but a commit", func(t *testing.T) { refusesChanges(t, filepath.Dir(second)) })
	t.Run("has all files", func(t *testing.T) { hasAllFiles(t, dist, made, platforms) })
	t.Run("is signed", func(t *testing.T) { isSigned(t, dist, public) })
	t.Run("is told by the plugin", func(t *testing.T) { pluginTells(t, dist, made) })
	t.Run("has an image that a registry keeps as it is", func(t *testing.T) { imageTravels(t, dist, made, platforms) })
	t.Run("has manifests that name that image", func(t *testing.T) { manifestsName(t, dist, made) })
	t.Run("is installed on a real node, as restricted Pods of that image", func(t *testing.T) { isInstalled(t, dist, made) })
	t.Run("has a bill of materials", func(t *testing.T) { billIsWhole(t, dist, made) })
	t.Run("has a plugin that krew installs", func(t *testing.T) { krewInstalls(t, dist, made) })
}

// localRegistry starts a registry and returns its address.
func localRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// pushBase pushes an image that stands in for distroless, for some architectures.
func pushBase(t *testing.T, reference string, architectures ...string) v1.Hash {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range architectures {
		built, err := image.Image{
			Architecture: architecture, Env: []string{"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
			Files: []image.File{{Path: "/etc", Mode: fs.ModeDir | 0o755}, {Path: "/etc/passwd", Mode: 0o644, Data: "nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"}},
		}.Build()
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: built, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}})
	}
	parsed, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(parsed, index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func newKey(t *testing.T) (minisign.PublicKey, string) {
	t.Helper()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := private.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return public, string(text)
}

// checkout makes a repository with one commit, of the working tree's files as they are, and returns its folder. The commit is the same
// each time.
func checkout(t *testing.T) string {
	t.Helper()
	root, dir := filepath.Join("..", ".."), t.TempDir()
	list := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z")
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for file := range strings.SplitSeq(strings.TrimSuffix(string(output), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, file), filepath.Join(dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err) // one that is not there was deleted and is in Git still
		}
	}
	tools, err := filepath.Abs(filepath.Join(root, "bin", "tools"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(tools, 0o755), os.Mkdir(filepath.Join(dir, "bin"), 0o755), os.Symlink(tools, filepath.Join(dir, "bin", "tools"))); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "--all"}, {"commit", "--quiet", "--message=A release"}, {"tag", tagged},
	} {
		git := exec.CommandContext(t.Context(), "git", args...)
		git.Dir = dir
		git.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE=2026-11-25T12:00:00+01:00",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=2026-11-25T12:00:00+01:00")
		if output, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, output)
		}
	}
	return dir
}

// copyFile copies a file with its mode and its date, by which make goes.
func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, info.Mode().Perm()), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	return found
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sameBytes(t *testing.T, first, second string) {
	if a, b := names(t, first), names(t, second); !slices.Equal(a, b) {
		t.Errorf("got files %q and %q", a, b)
	}
	for _, file := range names(t, first) {
		if !bytes.Equal(read(t, first, file), read(t, second, file)) {
			t.Errorf("%s differs", file)
		}
	}
}

// refusesChanges looks at what becomes of a release where a file was changed, and where there is one more.
func refusesChanges(t *testing.T, root string) {
	b := &builder{
		root: root, out: t.TempDir(), repository: "example.com/queuebinding", withoutImage: true, log: io.Discard,
		platforms: []platform{{"linux", runtime.GOARCH}},
	}
	for file, want := range map[string]string{"LICENSE": "changed", "more.txt": "new"} {
		path := filepath.Join(root, file)
		before, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(before, want...), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := b.run(t.Context()); err == nil || !strings.Contains(err.Error(), "not committed") {
			t.Errorf("got %v where %s is %s, want that it is not committed", err, file, want)
		}
		restore := os.Remove(path)
		if before != nil {
			restore = os.WriteFile(path, before, 0o644)
		}
		if restore != nil {
			t.Fatal(restore)
		}
	}
}

func hasAllFiles(t *testing.T, dist string, made release, platforms []string) {
	if made.Version != tagged || made.Date.Format("15:04 -0700") != "11:00 +0000" {
		t.Errorf("got version %s of %s, want what Git says", made.Version, made.Date)
	}
	want := []string{
		"SHA256SUMS", "SHA256SUMS.minisig", "install.yaml", "queuebinding.dev_queuebindings.yaml", "queuebinding.yaml",
		"queuebinding_" + tagged + ".spdx.json", "queuebinding_" + tagged + "_image.tar", "release.json",
	}
	for _, p := range platforms {
		extension := ".tar.gz"
		if strings.HasPrefix(p, "windows/") {
			extension = ".zip"
		}
		want = append(want, "kubectl-queuebinding_"+tagged+"_"+strings.ReplaceAll(p, "/", "_")+extension)
	}
	if _, err := os.Stat(filepath.Join("..", "..", "charts", "queuebinding")); err == nil {
		want = append(want, "queuebinding-"+tagged+".tgz")
	}
	slices.Sort(want)
	if got := names(t, dist); !slices.Equal(got, want) {
		t.Errorf("got files %q, want %q", got, want)
	}
}

// isSigned verifies as a user does: the signature over the checksums, and the checksums.
func isSigned(t *testing.T, dist string, public minisign.PublicKey) {
	sums, signature := read(t, dist, sumsFile), read(t, dist, signatureFile)
	if !minisign.Verify(public, sums, signature) {
		t.Error("the signature is not valid")
	}
	if other, _ := newKey(t); minisign.Verify(other, sums, signature) {
		t.Error("the signature is another key's too")
	}
	if minisign.Verify(public, bytes.Replace(sums, []byte("install.yaml"), []byte("install.yml"), 1), signature) {
		t.Error("the signature is valid for other checksums")
	}
	check := func(dir string) error {
		cmd := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "--quiet", sumsFile)
		cmd.Dir = dir
		return cmd.Run()
	}
	if err := check(dist); err != nil {
		t.Errorf("the checksums are not those of the files: %v", err)
	}
	if listed := strings.Count(string(sums), "\n"); listed != len(names(t, dist))-2 {
		t.Errorf("%d files have a checksum, want all but two of %q", listed, names(t, dist))
	}
	tampered := t.TempDir()
	if err := os.CopyFS(tampered, os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tampered, "install.yaml"), append(read(t, dist, "install.yaml"), '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if check(tampered) == nil {
		t.Error("a file that was tampered with passed")
	}
}

// said is what a program prints.
func said(t *testing.T, program string, args ...string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, output)
	}
	return string(output)
}

func pluginTells(t *testing.T, dist string, made release) {
	files := untar(t, read(t, dist, made.archive(platform{"linux", runtime.GOARCH})))
	for _, file := range []string{"LICENSE", "kubectl_complete-queuebinding", plugin} {
		if len(files[file]) == 0 {
			t.Errorf("%s is missing", file)
		}
	}
	program := filepath.Join(t.TempDir(), plugin)
	if err := os.WriteFile(program, files[plugin], 0o755); err != nil {
		t.Fatal(err)
	}
	if got, want := said(t, program, "version"), "kubectl-queuebinding v1.2.3 (commit "+made.Commit+" of 2026-11-25T11:00:00Z, "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// untar returns the files of a compressed archive.
func untar(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	uncompressed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	archive := tar.NewReader(uncompressed)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func imageTravels(t *testing.T, dist string, made release, platforms []string) {
	if err := push(t.Context(), dist, io.Discard); err != nil {
		t.Fatal(err)
	}
	reference, err := name.NewDigest(made.Image)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(reference) // by the digest that the manifests have
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range manifest.Manifests {
		got = append(got, m.Platform.OS+"/"+m.Platform.Architecture)
	}
	want := slices.DeleteFunc(slices.Clone(platforms), func(p string) bool { return !strings.HasPrefix(p, "linux/") })
	if !slices.Equal(got, want) {
		t.Errorf("got an image for %q, want %q", got, want)
	}
	pulled, err := remote.Image(reference, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		t.Fatal(err)
	}
	isAsTheDockerfileSays(t, pulled, made)
	layers, err := pulled.Layers()
	if err != nil {
		t.Fatal(err)
	}
	compressed, err := layers[len(layers)-1].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(compressed)
	if err != nil {
		t.Fatal(err)
	}
	for file, called := range map[string]string{manager: "queuebinding", server: server} {
		program := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(program, untar(t, data)[file], 0o755); err != nil {
			t.Fatal(err)
		}
		if got, want := said(t, program, "--version"), called+" v1.2.3 (commit "+made.Commit; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// isAsTheDockerfileSays compares an image's configuration with the last stage of the Dockerfile.
func isAsTheDockerfileSays(t *testing.T, built v1.Image, made release) {
	t.Helper()
	file, err := built.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	dockerfile := read(t, "..", "..", "Dockerfile")
	said := func(instruction string) string {
		found := regexp.MustCompile(`(?m)^`+instruction+` (.*)$`).FindAllSubmatch(dockerfile, -1)
		return string(found[len(found)-1][1])
	}
	config := file.Config
	if entrypoint, err := json.Marshal(config.Entrypoint); err != nil || string(entrypoint) != said("ENTRYPOINT") {
		t.Errorf("got entrypoint %s (%v), want %s", entrypoint, err, said("ENTRYPOINT"))
	}
	if config.User != said("USER") || config.User != "65532:65532" {
		t.Errorf("got user %q, want %q by number", config.User, said("USER"))
	}
	if want := "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"; !slices.Contains(config.Env, want) {
		t.Errorf("got environment %q, want the base's %s", config.Env, want)
	}
	for label, want := range map[string]string{
		"version": tagged, "revision": made.Commit, "created": "2026-11-25T11:00:00Z", "base.name": made.Base, "base.digest": made.BaseDigest,
	} {
		if got := config.Labels[labelPrefix+label]; got != want || got == "" {
			t.Errorf("got label %s %q, want %q", label, got, want)
		}
	}
}

func manifestsName(t *testing.T, dist string, made release) {
	images := regexp.MustCompile(`(?m)^ +image: (.*)$`).FindAllStringSubmatch(string(read(t, dist, "install.yaml")), -1)
	if len(images) != 2 {
		t.Errorf("got images %q, want one of the operator and one of the server", images)
	}
	for _, found := range images {
		if found[1] != made.Image {
			t.Errorf("got image %s, want %s", found[1], made.Image)
		}
	}
}

func billIsWhole(t *testing.T, dist string, made release) {
	bill, err := spdxjson.Read(bytes.NewReader(read(t, dist, made.bill())))
	if err != nil {
		t.Fatal(err)
	}
	known, versions := map[string]bool{"DOCUMENT": true}, map[string]string{}
	for _, p := range bill.Packages {
		if known[string(p.PackageSPDXIdentifier)] {
			t.Errorf("%s is there twice", p.PackageSPDXIdentifier)
		}
		known[string(p.PackageSPDXIdentifier)] = true
		versions[p.PackageName] = p.PackageVersion
	}
	for _, r := range bill.Relationships {
		if !known[string(r.RefA.ElementRefID)] || !known[string(r.RefB.ElementRefID)] {
			t.Errorf("%+v is of packages that are not there", r)
		}
	}
	output, err := exec.CommandContext(t.Context(), "go", "list", "-C", filepath.Join("..", ".."), "-m", "-f", "{{.Version}}", "github.com/aws/aws-sdk-go-v2/service/sqs").Output()
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]string{
		"github.com/aws/aws-sdk-go-v2/service/sqs": strings.TrimSpace(string(output)),
		"stdlib":                          strings.TrimPrefix(runtime.Version(), "go"),
		made.Base:                         made.BaseDigest,
		"manager-linux-" + runtime.GOARCH: tagged,
	} {
		if got := versions[module]; got != want {
			t.Errorf("got %s %q, want %q", module, got, want)
		}
	}
}

// krewInstalls has the real krew install the plugin, from a server that the manifest names.
func krewInstalls(t *testing.T, dist string, made release) {
	krew := tool(t, "sigs.k8s.io/krew/cmd/krew")
	served, archive := t.TempDir(), made.archive(platform{"linux", runtime.GOARCH})
	if err := os.CopyFS(filepath.Join(served, made.Version), os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(served)))
	t.Cleanup(server.Close)
	if err := writeKrewManifest(filepath.Join(served, made.Version), server.URL); err != nil {
		t.Fatal(err)
	}
	install := func() (string, error) {
		root := t.TempDir()
		cmd := exec.CommandContext(t.Context(), krew, "install", "--manifest="+filepath.Join(served, made.Version, "queuebinding.yaml"))
		cmd.Env = append(os.Environ(), "KREW_ROOT="+root)
		output, err := cmd.CombinedOutput()
		if err != nil {
			return "", errors.Join(err, errors.New(string(output)))
		}
		return filepath.Join(root, "bin", plugin), nil
	}
	program, err := install()
	if err != nil {
		t.Fatal(err)
	}
	if got := said(t, program, "version"); !strings.Contains(got, tagged) {
		t.Errorf("got %q, want version %s", got, tagged)
	}
	data := read(t, dist, archive)
	data[len(data)-1] ^= 1
	if err := os.WriteFile(filepath.Join(served, made.Version, archive), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := install(); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("got %v for an archive that was tampered with, want that its checksum is another", err)
	}
	// What is published says where a release is to be had.
	var manifest krewManifest
	if err := yaml.Unmarshal(read(t, dist, "queuebinding.yaml"), &manifest); err != nil {
		t.Fatal(err)
	}
	if got, want := manifest.Spec.Platforms[0].URI, source+"/releases/download/"+tagged+"/kubectl-queuebinding_"+tagged+"_linux_"; !strings.HasPrefix(got, want) {
		t.Errorf("got URI %s, want %s", got, want)
	}
}

// tool builds a tool of hack/tools/release.
func tool(t *testing.T, path string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), filepath.Base(path))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join("..", "tools", "release"), "-trimpath", "-ldflags=-s -w", "-o", program, path)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}

func TestNoReleaseWithoutTheBase(t *testing.T) {
	b := &builder{
		root: t.TempDir(), out: t.TempDir(), repository: "example.com/queuebinding", base: "127.0.0.1:1/distroless/static:nonroot", log: io.Discard,
		platforms: []platform{{"linux", "amd64"}},
	}
	if err := b.run(context.Background()); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/distroless/static:nonroot") || !strings.Contains(err.Error(), "IMAGE=0") {
		t.Errorf("got %v, want that the base cannot be had", err)
	}
}
