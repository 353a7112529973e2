package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// krewManifest is a plugin's manifest, as far as ours needs it.
type krewManifest struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       krewSpec          `json:"spec"`
}

type krewSpec struct {
	Version          string         `json:"version"`
	Homepage         string         `json:"homepage"`
	ShortDescription string         `json:"shortDescription"`
	Description      string         `json:"description"`
	Platforms        []krewPlatform `json:"platforms"`
}

type krewPlatform struct {
	Selector map[string]map[string]string `json:"selector"`
	URI      string                       `json:"uri"`
	SHA256   string                       `json:"sha256"`
	Bin      string                       `json:"bin"`
}

// writeKrewManifest writes the manifest of the archives in dist, which are to be had below downloads/<version>/.
func writeKrewManifest(dist, downloads string) error {
	made, err := readRelease(dist)
	if err != nil {
		return err
	}
	manifest := krewManifest{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2",
		Kind:       "Plugin",
		Metadata:   map[string]string{"name": "queuebinding"},
		Spec: krewSpec{
			Version:          made.Version,
			Homepage:         source,
			ShortDescription: "Look after queues and their Jobs",
			Description: "Lists QueueBindings with their backlog, shows which Jobs failed and with which\n" +
				"message, and puts that work back on its queue.\n",
		},
	}
	platforms, err := parsePlatforms(allPlatforms)
	if err != nil {
		return err
	}
	for _, p := range platforms {
		sum, err := sha256Of(filepath.Join(dist, made.archive(p)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		manifest.Spec.Platforms = append(manifest.Spec.Platforms, krewPlatform{
			Selector: map[string]map[string]string{"matchLabels": {"os": p.os, "arch": p.arch}},
			URI:      strings.Join([]string{downloads, made.Version, made.archive(p)}, "/"),
			SHA256:   sum,
			Bin:      p.file(plugin),
		})
	}
	if len(manifest.Spec.Platforms) == 0 {
		return fmt.Errorf("there is no archive of the plugin in %s", dist)
	}
	data, err := yaml.Marshal(manifest)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dist, "queuebinding.yaml"), data, 0o644)
}

func sha256Of(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
