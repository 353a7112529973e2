package machine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Programs are where the programs of a container runtime are on this machine.
type Programs struct {
	Containerd, Ctr, Shim, Runc, Busybox string
	// Networks is the directory of the network plugins.
	Networks string
}

// folders are searched besides the PATH, which often lacks what only root runs.
var folders = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// Debian has its network plugins in the first, their own releases and most others in the second.
var networkFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// networkPlugins are those that a node uses.
var networkPlugins = []string{"ptp", "host-local", "loopback"}

// FindPrograms returns the programs, and the Debian packages of those that are not there.
func FindPrograms() (programs Programs, missing []string) {
	look := func(into *string, name, debianPackage string) {
		*into = lookUp(name)
		if *into == "" && !slices.Contains(missing, debianPackage) {
			missing = append(missing, debianPackage)
		}
	}
	look(&programs.Containerd, "containerd", "containerd")
	look(&programs.Ctr, "ctr", "containerd")
	look(&programs.Shim, "containerd-shim-runc-v2", "containerd")
	look(&programs.Runc, "runc", "runc")
	look(&programs.Busybox, "busybox", "busybox-static")
	// Another one needs libraries, which the images do not have.
	if programs.Busybox != "" && !static(programs.Busybox) {
		programs.Busybox = ""
		missing = append(missing, "busybox-static")
	}
	for _, folder := range networkFolders {
		if hasAll(folder, networkPlugins) {
			programs.Networks = folder
			break
		}
	}
	if programs.Networks == "" {
		missing = append(missing, "containernetworking-plugins")
	}
	return programs, missing
}

func lookUp(name string) string {
	for _, folder := range append(filepath.SplitList(os.Getenv("PATH")), folders...) {
		path := filepath.Join(folder, name)
		if filepath.IsAbs(path) && isProgram(path) {
			return path
		}
	}
	return ""
}

func hasAll(folder string, names []string) bool {
	for _, name := range names {
		if !isProgram(filepath.Join(folder, name)) {
			return false
		}
	}
	return true
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// InstallCommand is what installs packages on Debian and its like.
func InstallCommand(packages []string) string {
	return "apt-get install --no-install-recommends " + strings.Join(packages, " ")
}
