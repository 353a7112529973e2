package devenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/mod/modfile"
)

// kubernetesModule is the nested module that builds Kubernetes, below the repository's root. Its requirement is the only
// place that names Kubernetes' version.
const kubernetesModule = "hack/devenv/kubernetes"

// Layout says where things are in a checkout. All paths are absolute.
type Layout struct {
	// Root is the repository.
	Root string
	// Version is Kubernetes' version with its leading v.
	Version string
	// Assets holds the built Kubernetes programs, etcd and kwok, and the neighbours in directories of their own. It is
	// named as envtest suites expect it.
	Assets string
	// Queue holds the installed SQS emulator.
	Queue string
	// Tools holds our own small programs for a user's PATH.
	Tools string
}

// NewLayout describes the checkout at root.
func NewLayout(root string) (Layout, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return Layout{}, fmt.Errorf("resolving %s: %w", root, err)
	}
	version, err := requiredVersion(filepath.Join(root, kubernetesModule, "go.mod"), "k8s.io/kubernetes")
	if err != nil {
		return Layout{}, err
	}
	return Layout{
		Root:    root,
		Version: version,
		Assets:  filepath.Join(root, "bin", "k8s", fmt.Sprintf("%s-%s-%s", version[1:], runtime.GOOS, runtime.GOARCH)),
		Queue:   filepath.Join(root, "bin", "fauxqs"),
		Tools:   filepath.Join(root, "bin", "devenv-tools"),
	}, nil
}

// FindRoot returns the repository that holds one of the given places, the first that lies in one.
func FindRoot(places ...string) (string, error) {
	for _, place := range places {
		dir, err := filepath.Abs(place)
		if err != nil {
			return "", fmt.Errorf("resolving %s: %w", place, err)
		}
		for {
			if _, err := os.Stat(filepath.Join(dir, kubernetesModule, "go.mod")); err == nil {
				return dir, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return "", errors.New("found no QueueBinding repository here or in a parent directory; change into one")
}

// DefaultDir is the state directory of the environment that a user works with.
func (l Layout) DefaultDir() string { return filepath.Join(l.Root, "bin", "devenv") }

// Asset returns the path of a built program. KUBEBUILDER_ASSETS wins for the programs that it has, so that prebuilt ones
// need no build.
func (l Layout) Asset(name string) string {
	if prebuilt := os.Getenv("KUBEBUILDER_ASSETS"); prebuilt != "" {
		if path := filepath.Join(prebuilt, name); isProgram(path) {
			return path
		}
	}
	return filepath.Join(l.Assets, name)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func requiredVersion(file, module string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the version of %s: %w", module, err)
	}
	parsed, err := modfile.ParseLax(file, data, nil)
	if err != nil {
		return "", fmt.Errorf("reading the version of %s: %w", module, err)
	}
	for _, require := range parsed.Require {
		if require.Mod.Path == module {
			return require.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", file, module)
}
