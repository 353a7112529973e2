package rig_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

func TestCheckoutHasTheFilesOfTheCommit(t *testing.T) {
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "released")
	if err := rig.Checkout(root, rig.Released, folder); err != nil {
		t.Fatal(err)
	}
	// The operator of then served the subresource by itself.
	if _, err := os.Stat(filepath.Join(folder, "config", "apiserver", "manager_patch.yaml")); err != nil {
		t.Error(err)
	}
}

// In CI clones are shallow unless somebody asks for more.
func TestCheckoutInAShallowCloneSaysWhatToDo(t *testing.T) {
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	shallow := filepath.Join(t.TempDir(), "clone")
	if output, err := exec.Command("git", "clone", "--quiet", "--no-checkout", "--depth=1", "file://"+root, shallow).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	err = rig.Checkout(shallow, rig.Released, filepath.Join(t.TempDir(), "released"))
	if err == nil || !strings.Contains(err.Error(), "git fetch --unshallow") || !strings.Contains(err.Error(), rig.Released) {
		t.Errorf("got %v, want the commit and what gets it", err)
	}
}

// Whoever reads the changelog and the suite finds the same commit.
func TestTheChangelogNamesTheCommit(t *testing.T) {
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	changelog, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, release, _ := strings.Cut(string(changelog), "\n## [0.1.0]")
	if !strings.Contains(release, "`"+rig.Released+"`") {
		t.Errorf("CHANGELOG.md names another commit for 0.1.0 than %s", rig.Released)
	}
}
