package devenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Files of a state directory.
const (
	// markerFile tells our directories from others, which are never cleared.
	markerFile     = ".devenv"
	stateFile      = "state.json"
	accessFile     = "ready.json"
	envFile        = "env"
	kubeconfigFile = "kubeconfig"
	lockName       = "lock"
	logsDir        = "logs"
	supervisorLog  = "devenvctl.log"
)

// PartStatus is what the supervisor last knew of a part.
type PartStatus string

// What a part can be.
const (
	PartStarting PartStatus = "starting"
	PartRunning  PartStatus = "running"
	PartPaused   PartStatus = "paused"  // told to, by its supervisor
	PartStopped  PartStatus = "stopped" // told to, by its supervisor
	PartExited   PartStatus = "exited"  // by itself, or killed by others
)

// PartState is one part in the record.
type PartState struct {
	Name    string     `json:"name"`
	Process Process    `json:"process"`
	Status  PartStatus `json:"status"`
	Address string     `json:"address,omitempty"`
	Detail  string     `json:"detail,omitempty"`
	Log     string     `json:"log"`
}

// State is the record of an environment, kept by its supervisor.
type State struct {
	Supervisor Process  `json:"supervisor"`
	Ready      bool     `json:"ready"`
	Groups     []string `json:"groups"`
	// Node is what runs Pods, if anything does.
	Node  NodeKind    `json:"node"`
	Parts []PartState `json:"parts"`
}

// Access is what a client of a ready environment needs. It exists only while the environment is ready.
type Access struct {
	Kubeconfig  string `json:"kubeconfig,omitempty"`
	SQSEndpoint string `json:"sqsEndpoint,omitempty"`
	// PodSQSEndpoint is the queue as Pods of a real node reach it.
	PodSQSEndpoint string   `json:"podSQSEndpoint,omitempty"`
	Node           NodeKind `json:"node,omitempty"`
	Env            []string `json:"env"`
}

// Condition sums a state directory up.
type Condition string

// What an environment can be.
const (
	Down     Condition = "down"
	Starting Condition = "starting"
	Up       Condition = "up"
	HalfDead Condition = "half-dead"
)

// Report is a record checked against the processes that run.
type Report struct {
	Condition Condition
	State     State
	// Leftovers tells of an environment that ended without being cleared away. It is down.
	Leftovers bool
}

// Inspect reads the record in dir and looks which of its processes run.
func Inspect(dir string) (Report, error) {
	state, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Report{Condition: Down}, nil
	}
	if err != nil {
		return Report{}, err
	}
	report := Report{State: state}
	supervised := state.Supervisor.Alive()
	alive, missing := 0, 0
	for i := range report.State.Parts {
		part := &report.State.Parts[i]
		switch {
		case part.Process.Alive():
			alive++
		case part.Status == PartStopped || (part.Status == PartStarting && supervised):
		default:
			missing++
			part.Status = PartExited
		}
	}
	switch {
	case !supervised && alive == 0:
		report.Condition, report.Leftovers = Down, true
	case !supervised || missing > 0:
		report.Condition = HalfDead
	case !state.Ready:
		report.Condition = Starting
	default:
		report.Condition = Up
	}
	return report, nil
}

// ReadAccess returns what a client of the environment in dir needs. It wraps [fs.ErrNotExist] while the environment is
// not ready.
func ReadAccess(dir string) (Access, error) {
	var access Access
	err := readJSON(filepath.Join(dir, accessFile), &access)
	return access, err
}

func readState(dir string) (State, error) {
	var state State
	err := readJSON(filepath.Join(dir, stateFile), &state)
	return state, err
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the record of the environment: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return writeFile(path, append(data, '\n'))
}

// writeFile replaces a file at once, so that a reader never sees half of it.
func writeFile(path string, data []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
