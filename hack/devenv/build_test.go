package devenv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// emptyCheckout is a repository in which nothing is built, with a space in its path.
func emptyCheckout(t *testing.T) Layout {
	t.Helper()
	t.Setenv("KUBEBUILDER_ASSETS", "")
	root := filepath.Join(t.TempDir(), "my checkout")
	module := filepath.Join(root, kubernetesModule)
	if err := os.MkdirAll(module, 0o755); err != nil {
		t.Fatal(err)
	}
	requirement := "module x\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.37.1\n"
	if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte(requirement), 0o644); err != nil {
		t.Fatal(err)
	}
	layout, err := NewLayout(root)
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

func names(stages []Stage) string {
	var names []string
	for _, stage := range stages {
		names = append(names, strings.Fields(stage.Name)[0])
	}
	return strings.Join(names, " ")
}

func TestPlanNamesWhatIsMissing(t *testing.T) {
	for name, test := range map[string]struct {
		groups []string
		built  []string
		want   string
	}{
		"everything":           {allGroups, nil, "etcd kube-apiserver kubectl kube-controller-manager kube-scheduler kwok fauxqs sqs"},
		"a neighbour":          {[]string{Nodes, "karpenter"}, nil, "kwok karpenter"},
		"the control plane":    {[]string{ControlPlane}, nil, "etcd kube-apiserver kubectl"},
		"some are there":       {[]string{ControlPlane}, []string{"etcd", "kubectl"}, "kube-apiserver"},
		"all that is asked is": {[]string{ControlPlane}, []string{"etcd", "kube-apiserver", "kubectl"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			layout := emptyCheckout(t)
			for _, program := range test.built {
				placeProgram(t, filepath.Join(layout.Assets, program))
			}
			if got := names(layout.Plan(test.groups, SimulatedNode())); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Another version of a neighbour is another program.
func TestANeighbourIsBuiltOncePerVersion(t *testing.T) {
	layout := emptyCheckout(t)
	module := filepath.Join(layout.Root, "hack", "devenv", "karpenter")
	if err := os.MkdirAll(module, 0o755); err != nil {
		t.Fatal(err)
	}
	placeProgram(t, filepath.Join(layout.Assets, "karpenter-v1.14.0", "karpenter"))
	for version, want := range map[string]string{"v1.14.0": "", "v1.14.1": "karpenter"} {
		requirement := "module x\n\ngo 1.26.0\n\nrequire sigs.k8s.io/karpenter " + version + "\n"
		if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte(requirement), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := names(layout.Plan([]string{"karpenter"}, SimulatedNode())); got != want {
			t.Errorf("%s: got %q to build, want %q", version, got, want)
		}
	}
}

func TestPrebuiltProgramsNeedNoBuild(t *testing.T) {
	layout := emptyCheckout(t)
	prebuilt := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", prebuilt)
	for _, program := range []string{"etcd", "kube-apiserver", "kubectl"} {
		placeProgram(t, filepath.Join(prebuilt, program))
	}
	if got, want := names(layout.Plan([]string{ControlPlane, Scheduler}, SimulatedNode())), "kube-scheduler"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func placeProgram(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestBuildSaysWhatItDoes(t *testing.T) {
	layout := emptyCheckout(t)
	built := map[string]bool{"there": true}
	stage := func(name string, minutes int) Stage {
		return Stage{
			Name: name, Minutes: minutes,
			done:  func() bool { return built[name] },
			build: func(context.Context, io.Writer) error { built[name] = true; return nil },
		}
	}
	var out bytes.Buffer
	if err := layout.Build(context.Background(), []Stage{stage("kube-apiserver", 9), stage("there", 1), stage("etcd", 1)}, &out); err != nil {
		t.Fatal(err)
	}
	want := `Building 2 programs for the development environment, once; the first time about 10 minutes on two cores.
stage 1 of 2: kube-apiserver (the first time about 9 minutes)
stage 1 of 2: kube-apiserver done after 0s
stage 2 of 2: etcd (the first time about 1 minute)
stage 2 of 2: etcd done after 0s
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestAFailedBuildShowsItsOutput(t *testing.T) {
	broken := errors.New("exit status 1")
	stage := Stage{Name: "etcd", done: func() bool { return false }, build: func(_ context.Context, log io.Writer) error {
		_, _ = io.WriteString(log, "main.go:1: no such package\n")
		return broken
	}}
	err := emptyCheckout(t).Build(context.Background(), []Stage{stage}, io.Discard)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "no such package") {
		t.Errorf("got %v, want the compiler's words", err)
	}
}

func TestMissingPrerequisitesAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := requirements([]Stage{{Name: "etcd"}, emptyCheckout(t).queueStage()})
	if err == nil || !strings.Contains(err.Error(), "install Go") || !strings.Contains(err.Error(), "apt install npm") {
		t.Errorf("got %v, want Go and npm named with what to do", err)
	}
}

func TestVersionFlags(t *testing.T) {
	got := versionFlags("v1.37.1")
	for _, want := range []string{"version.gitVersion=v1.37.1", "version.gitMajor=1 ", "version.gitMinor=37 "} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}
