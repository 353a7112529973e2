package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// neighbour is an operator of another project that people run beside ours. It is a group of its own, which runs only where
// it is asked for by name, and needs nothing but its literal in [neighbours] and a module below hack/devenv that bears
// its name and pins its version.
type neighbour struct {
	// name is that of the group, the module below hack/devenv, the program, the part and its log.
	name string
	// module is the Go module that holds the program and the CRDs, as the module below hack/devenv requires it.
	module string
	// program is the main package, below module.
	program string
	// tools are more main packages, below module, whose programs come to stand beside it under their own names.
	tools []string
	// tags are those that all of them are built with.
	tags string
	// crds are directories with CRDs, below module. They are applied before the program starts.
	crds []string
	// manifests are directories with more objects, below module, which come to stand beside the CRDs and are not applied.
	manifests []string
	// minutes is about how long the first build takes on two cores.
	minutes int
	// needs are groups that it makes no sense without, beside the control plane.
	needs []string
	// machines tells that it makes simulated nodes, which kwok has to play also beside a real one.
	machines bool
	// setUp, where there is one, does after its CRDs are there what else it needs before its first start.
	setUp func(context.Context, *Environment) error
	// command returns arguments and environment of the program. It has to answer GET requests for readiness on the given
	// port; ports for all else come from env. Path, KUBECONFIG with an admin's rights and Address are added.
	command func(env *Environment, probe int) (Command, error)
	// readiness is the path on that port that answers 200 once the program works.
	readiness string
	// variable, where there is one, leads clients to that port.
	variable string
	// whileStarting, where there is one, does what the program waits for, with the manifests. It is called again until it
	// returns nil and the program is ready.
	whileStarting func(context.Context, *Environment, []*unstructured.Unstructured) error
}

// neighbours are all that there are.
var neighbours = []neighbour{karpenter, kueue, keda, prometheus, alertmanager}

func findNeighbour(group string) (neighbour, bool) {
	for _, n := range neighbours {
		if n.name == group {
			return n, true
		}
	}
	return neighbour{}, false
}

// directory returns where program and CRDs are built. It bears the version, so that another one is built anew.
func (n neighbour) directory(l Layout) (string, error) {
	version, err := requiredVersion(filepath.Join(l.Root, "hack", "devenv", n.name, "go.mod"), n.module)
	if err != nil {
		return "", err
	}
	return filepath.Join(l.Assets, n.name+"-"+version), nil
}

// neighbourVariables lead clients to the neighbours that serve them.
func (e *Environment) neighbourVariables() []variable {
	var vars []variable
	for _, n := range neighbours {
		if n.variable != "" && e.has(n.name) {
			vars = append(vars, variable{n.variable, e.address(n.name)})
		}
	}
	return vars
}

// NeighbourProgram returns the path of a program that is built with a neighbour, which may be missing.
func (l Layout) NeighbourProgram(group, program string) (string, error) {
	n, found := findNeighbour(group)
	if !found {
		return "", fmt.Errorf("there is no neighbour %q", group)
	}
	dir, err := n.directory(l)
	return filepath.Join(dir, program), err
}

func (l Layout) neighbourStage(n neighbour) Stage {
	return Stage{
		Name:    n.name,
		Minutes: n.minutes,
		done: func() bool {
			dir, err := n.directory(l)
			return err == nil && isProgram(filepath.Join(dir, n.name))
		},
		build: func(ctx context.Context, log io.Writer) error { return l.buildNeighbour(ctx, log, n) },
	}
}

// buildNeighbour builds a program and copies its CRDs, and puts both in place at once.
func (l Layout) buildNeighbour(ctx context.Context, log io.Writer, n neighbour) error {
	dir, err := n.directory(l)
	if err != nil {
		return err
	}
	temporary := filepath.Join(l.Assets, ".building-"+filepath.Base(dir))
	if err := errors.Join(
		os.RemoveAll(temporary),
		os.MkdirAll(filepath.Join(temporary, crdsDir), 0o755),
		os.MkdirAll(filepath.Join(temporary, manifestsDir), 0o755),
	); err != nil {
		return fmt.Errorf("building %s: %w", n.name, err)
	}
	source := filepath.Join("hack", "devenv", n.name)
	for _, target := range append([]string{n.program}, n.tools...) {
		name := n.name
		if target != n.program {
			name = path.Base(target)
		}
		if err := l.goBuild(ctx, log, source, n.module+"/"+target, filepath.Join(temporary, name), "-s -w", "-tags="+n.tags); err != nil {
			return err
		}
	}
	// The build has downloaded the module.
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", n.module)
	list.Dir = filepath.Join(l.Root, source)
	list.Env = append(os.Environ(), "GOWORK=off")
	module, err := list.Output()
	if err != nil {
		return fmt.Errorf("finding the CRDs of %s: %w", n.name, err)
	}
	for into, directories := range map[string][]string{crdsDir: n.crds, manifestsDir: n.manifests} {
		for _, from := range directories {
			if err := copyFiles(filepath.Join(temporary, into), filepath.Join(strings.TrimSpace(string(module)), from)); err != nil {
				return fmt.Errorf("copying the %s of %s: %w", into, n.name, err)
			}
		}
	}
	if err := errors.Join(os.RemoveAll(dir), os.Rename(temporary, dir)); err != nil {
		return fmt.Errorf("putting %s in place: %w", n.name, err)
	}
	return nil
}

// Directories beside a neighbour's program.
const (
	crdsDir      = "crds"
	manifestsDir = "manifests"
)

// copyFiles copies the YAML files that lie in one directory, of which there has to be one, into another.
func copyFiles(into, from string) error {
	paths, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s: %w", from, fs.ErrNotExist)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(into, filepath.Base(path)), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// part is the neighbour's process.
func (n neighbour) part() Part {
	return Part{
		Name: n.name,
		Before: func(ctx context.Context, env *Environment) error {
			if err := n.applyCRDs(ctx, env); err != nil || n.setUp == nil {
				return err
			}
			return n.setUp(ctx, env)
		},
		Prepare: func(env *Environment) (Command, error) {
			dir, err := n.directory(env.Layout)
			if err != nil {
				return Command{}, err
			}
			probe, err := env.ports.next()
			if err != nil {
				return Command{}, err
			}
			command, err := n.command(env, probe)
			if err != nil {
				return Command{}, err
			}
			command.Path = filepath.Join(dir, n.name)
			command.Env = append(command.Env, "KUBECONFIG="+env.kubeconfig())
			command.Address = "http://" + loopback(probe)
			env.addresses.Store(n.name, command.Address)
			return command, nil
		},
		Ready: n.ready,
	}
}

func (n neighbour) ready(ctx context.Context, env *Environment) error {
	if n.whileStarting != nil {
		manifests, err := n.objects(env.Layout, manifestsDir)
		if err != nil {
			return err
		}
		if err := n.whileStarting(ctx, env, manifests); err != nil {
			return err
		}
	}
	return env.answers(ctx, env.address(n.name)+n.readiness, "")
}

// applyCRDs applies the CRDs and returns once the API server serves their kinds.
func (n neighbour) applyCRDs(ctx context.Context, env *Environment) error {
	crds, err := n.objects(env.Layout, crdsDir)
	if err != nil {
		return err
	}
	client, err := env.dynamicClient()
	if err != nil {
		return err
	}
	resource := client.Resource(crdResource)
	for _, crd := range crds {
		// Server-side, as some are too large for the annotation of a client-side one.
		_, err := resource.Apply(ctx, crd.GetName(), crd, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err != nil {
			return fmt.Errorf("applying CRD %s of %s: %w", crd.GetName(), n.name, err)
		}
	}
	for _, crd := range crds {
		if err := awaitServed(ctx, client, crd); err != nil {
			return err
		}
	}
	return nil
}

// awaitServed lists the objects of a CRD's versions until the API server does so: it says that a kind is established
// some moments before.
func awaitServed(ctx context.Context, client dynamic.Interface, crd *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, version := range versions {
		version, _ := version.(map[string]any)
		if version["served"] != true {
			continue
		}
		name, _ := version["name"].(string)
		resource := client.Resource(schema.GroupVersionResource{Group: group, Version: name, Resource: plural})
		for {
			_, err := resource.List(ctx, metav1.ListOptions{Limit: 1})
			if err == nil {
				break
			}
			if !apierrors.IsNotFound(err) && !apierrors.IsServiceUnavailable(err) {
				return fmt.Errorf("waiting until %s is served: %w", crd.GetName(), err)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting until %s is served: %w", crd.GetName(), ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// objects returns those in a directory beside the program.
func (n neighbour) objects(l Layout, directory string) ([]*unstructured.Unstructured, error) {
	dir, err := n.directory(l)
	if err != nil {
		return nil, err
	}
	objects, err := readObjects(filepath.Join(dir, directory))
	if err != nil {
		return nil, fmt.Errorf("reading the %s of %s: %w", directory, n.name, err)
	}
	return objects, nil
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// fieldManager is who applies objects.
const fieldManager = "devenv"

// dynamicClient returns a client with an admin's rights, for objects of any kind.
func (e *Environment) dynamicClient() (dynamic.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", e.kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("reading the admin's kubeconfig: %w", err)
	}
	config.WarningHandler = rest.NoWarnings{} // of deprecated versions, which others serve
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client, nil
}

// readObjects returns the objects of all YAML files in dir.
func readObjects(dir string) ([]*unstructured.Unstructured, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
		for err == nil {
			object := &unstructured.Unstructured{}
			// A document of comments only has no kind.
			if err = decoder.Decode(&object.Object); err == nil && object.GetKind() != "" {
				objects = append(objects, object)
			}
		}
		if err := errors.Join(ignoreEOF(err), file.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return objects, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
