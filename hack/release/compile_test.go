package main

import (
	"debug/buildinfo"
	"runtime/debug"
	"strings"
	"testing"
)

func TestAReleaseIsOfACommit(t *testing.T) {
	for name, test := range map[string]struct {
		version  string
		settings map[string]string
		want     string
	}{
		"a tag":             {"v1.2.3", map[string]string{"vcs": "git", "vcs.revision": "c0ffee", "vcs.time": "2026-11-25T11:00:00Z", "vcs.modified": "false"}, ""},
		"what is not Git's": {"(devel)", nil, "no Git repository that Go knows"},
		"changes":           {"v1.2.3+dirty", map[string]string{"vcs": "git", "vcs.revision": "c0ffee", "vcs.time": "2026-11-25T11:00:00Z", "vcs.modified": "true"}, "not committed"},
		"no version":        {"(devel)", map[string]string{"vcs": "git", "vcs.revision": "c0ffee", "vcs.time": "2026-11-25T11:00:00Z", "vcs.modified": "false"}, "no version"},
		"no time":           {"v1.2.3", map[string]string{"vcs": "git", "vcs.revision": "c0ffee", "vcs.modified": "false"}, "time"},
	} {
		t.Run(name, func(t *testing.T) {
			info := &buildinfo.BuildInfo{Main: debug.Module{Version: test.version}}
			for key, value := range test.settings {
				info.Settings = append(info.Settings, debug.BuildSetting{Key: key, Value: value})
			}
			made, err := identify(program{info: info})
			if test.want == "" && (err != nil || made.Version != test.version || made.Commit != "c0ffee") {
				t.Errorf("got %+v and %v", made, err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
