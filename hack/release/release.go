package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// release says what was made, for later steps and for machines, as release.json.
type release struct {
	// Version is the commit's tag, or the pseudo-version that Go makes of a commit without one.
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	Date    time.Time `json:"date"`
	// Image is what manifests call the image: repository, version and, if the image was made, its digest.
	Image string `json:"image"`
	// Base is what it was put on, empty without an image, and BaseDigest which one that was.
	Base       string `json:"base,omitempty"`
	BaseDigest string `json:"baseDigest,omitempty"`
}

// tag is what the image is called in its registry.
func (r release) tag() string {
	tag, _, _ := strings.Cut(r.Image, "@")
	return tag
}

func releaseFile(dist string) string { return filepath.Join(dist, "release.json") }

func readRelease(dist string) (release, error) {
	data, err := os.ReadFile(releaseFile(dist))
	if err != nil {
		return release{}, fmt.Errorf("reading what was built: %w", err)
	}
	var made release
	if err := json.Unmarshal(data, &made); err != nil {
		return release{}, fmt.Errorf("reading what was built: %w", err)
	}
	return made, nil
}

// Names of files of a release.

func (r release) archive(p platform) string {
	extension := ".tar.gz"
	if p.os == "windows" {
		extension = ".zip"
	}
	return fmt.Sprintf("%s_%s_%s_%s%s", plugin, r.Version, p.os, p.arch, extension)
}

func (r release) imageArchive() string { return fmt.Sprintf("queuebinding_%s_image.tar", r.Version) }
func (r release) bill() string         { return fmt.Sprintf("queuebinding_%s.spdx.json", r.Version) }

// builder builds what is compiled.
type builder struct {
	root, out, repository, base string
	withoutImage                bool
	platforms                   []platform
	log                         io.Writer
}

func (b *builder) run(ctx context.Context) error {
	if b.repository == "" {
		return errors.New("--repository is missing: manifests have to name the image")
	}
	if !b.withoutImage && !slices.ContainsFunc(b.platforms, func(p platform) bool { return p.os == "linux" }) {
		return errors.New("the image is for Linux, and --platforms names no platform of it: --without-image leaves the image out")
	}
	// First, as this takes a moment and may fail, and the rest takes minutes.
	below, err := b.findBase(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	var made release
	var programs []program
	for _, p := range b.platforms {
		fmt.Fprintf(b.log, "Building for %s\n", p)
		names := []string{plugin}
		if p.os == "linux" && !b.withoutImage {
			names = append(names, manager, server)
		}
		for _, name := range names {
			built, err := compile(ctx, b.root, work, p, name)
			if err != nil {
				return err
			}
			programs = append(programs, built)
		}
		if made, err = identify(programs[len(programs)-1]); err != nil {
			return err
		}
		if err := b.packPlugin(made, programs[len(programs)-len(names)]); err != nil {
			return err
		}
	}
	made.Image = b.repository + ":" + made.Version
	if !b.withoutImage {
		made.Base, made.BaseDigest = below.name, below.digest
		digest, err := writeImage(filepath.Join(b.out, made.imageArchive()), below, made, programs)
		if err != nil {
			return err
		}
		made.Image += "@" + digest
		fmt.Fprintf(b.log, "Built the image %s on %s, which is %s\n", made.Image, made.Base, made.BaseDigest)
	}
	if err := writeBill(filepath.Join(b.out, made.bill()), made, programs); err != nil {
		return err
	}
	return writeJSON(releaseFile(b.out), made)
}

func (b *builder) packPlugin(made release, built program) error {
	files := []packed{
		{built.file(plugin), built.path, 0o755},
		{"kubectl_complete-queuebinding", filepath.Join(b.root, "cmd", plugin, "kubectl_complete-queuebinding"), 0o755},
		{"LICENSE", filepath.Join(b.root, "LICENSE"), 0o644},
	}
	return pack(filepath.Join(b.out, made.archive(built.platform)), made.Date, files)
}

// findBase finds what the image is put on, unless there is to be no image.
func (b *builder) findBase(ctx context.Context) (base, error) {
	if b.withoutImage {
		return base{}, nil
	}
	name := b.base
	if name == "" {
		var err error
		if name, err = baseOfDockerfile(filepath.Join(b.root, "Dockerfile")); err != nil {
			return base{}, err
		}
	}
	found, err := pull(ctx, name)
	if err != nil {
		return base{}, fmt.Errorf("the image's base cannot be had, so that there can be no image: %w\n`make release BASE=…` names another one, `make release IMAGE=0` leaves the image out", err)
	}
	return found, nil
}

func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
