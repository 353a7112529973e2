package main

import (
	"fmt"
	"strings"
)

// platform is what programs are built for.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// file is the name of a program's file there.
func (p platform) file(program string) string {
	if p.os == "windows" {
		return program + ".exe"
	}
	return program
}

// allPlatforms are those of a release.
var allPlatforms = []string{
	"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64",
}

func parsePlatforms(texts []string) ([]platform, error) {
	var platforms []platform
	for _, text := range texts {
		os, arch, ok := strings.Cut(text, "/")
		if !ok || os == "" || arch == "" {
			return nil, fmt.Errorf("%q is no platform: want one such as linux/amd64", text)
		}
		platforms = append(platforms, platform{os, arch})
	}
	return platforms, nil
}
