package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestABuildTellsWhatItIs(t *testing.T) {
	tagged := &debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0b7078c9c8d8"}, {Key: "vcs.time", Value: "2026-11-24T23:00:00Z"},
		},
	}
	for name, test := range map[string]struct {
		build        *debug.BuildInfo
		linked, want Info
	}{
		"in a repository": {tagged, Info{}, Info{"v1.2.3", "0b7078c9c8d8", "2026-11-24T23:00:00Z", runtime.Version()}},
		"what is linked counts": {
			tagged, Info{Version: "v2.0.0", Commit: "c863800", Date: "2026-11-22T00:00:00Z"},
			Info{"v2.0.0", "c863800", "2026-11-22T00:00:00Z", runtime.Version()},
		},
		"without a repository": {
			&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, Info{}, Info{"devel", "unknown", "unknown", runtime.Version()},
		},
		"without a record": {&debug.BuildInfo{}, Info{}, Info{"devel", "unknown", "unknown", runtime.Version()}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := of(test.build, test.linked); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestTheUserAgentIsOneProductAndItsComment(t *testing.T) {
	product, rest, found := strings.Cut(UserAgent("kubectl-queuebinding"), " ")
	if want := "kubectl-queuebinding/" + Get().Version; product != want {
		t.Errorf("got %q, want %q", product, want)
	}
	if want := "(" + runtime.GOOS + "/" + runtime.GOARCH + ") "; !found || !strings.HasPrefix(rest, want) {
		t.Errorf("got %q, want it to begin with %q", rest, want)
	}
}
