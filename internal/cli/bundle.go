package cli

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/version"
)

const (
	// bundledObjects is how many objects of a kind a bundle has, the newest ones.
	bundledObjects = 500
	// bundlePage is how many objects are read at a time: a Job may have its message with it.
	bundlePage = 100
	// bundledLogLines and bundledLogBytes bound what a bundle has of one container's log.
	bundledLogLines = 5000
	bundledLogBytes = 4 << 20
	// programLabel is on the Deployments and Pods of operator and server, with this value.
	programLabel, programName = "app.kubernetes.io/name", "queuebinding"
)

// bundler gathers what a bug report needs. What goes in is chosen field by field: what nobody thought of stays out.
type bundler struct {
	*plugin
	file      string
	operators string

	client client.Client
	core   kubernetes.Interface
	files  []bundled
	// omitted says what is not there, and why.
	omitted []string
}

// bundled is a file of a bundle.
type bundled struct {
	name, about string
	data        []byte
}

func newDebugCommand(p *plugin) *cobra.Command {
	cmd := &cobra.Command{Use: "debug", Short: "Find out what is wrong with QueueBinding itself"}
	b := &bundler{plugin: p}
	bundle := &cobra.Command{
		Use:   "bundle NAME",
		Short: "Gather what a bug report about a binding needs",
		Long: `Write an archive with what a bug report about a binding needs: versions, the
binding and its conditions, its Jobs, Pods and events, and Deployments and logs
of the operator.

No message is in it, and no Secret: of environment variables there are the
names; commands, arguments, annotations, termination messages and logs of your
own containers are left out, and so are the operator's words about other bindings.
Names of objects, labels, images, expressions, and the queue's URL with its
account are there.
MANIFEST says what is in it, and what is not because you may not read it. Look it
through before you hand it on.`,
		Example:           "  kubectl queuebinding debug bundle pings",
		Args:              args(1, 1, "the name of a binding"),
		ValidArgsFunction: completion{p}.binding,
	}
	bundle.Flags().StringVarP(&b.file, "file", "f", "", "Write to this file, which must not exist yet. Default: NAME-TIME.tar.gz, here.")
	bundle.Flags().StringVar(&b.operators, "operator-namespace", "queuebinding-system", "The namespace that the operator runs in.")
	bundle.RunE = func(cmd *cobra.Command, args []string) error { return b.run(cmd.Context(), args[0]) }
	cmd.AddCommand(bundle)
	return cmd
}

func (b *bundler) run(ctx context.Context, name string) error {
	c, binding, err := b.binding(ctx, name)
	if err != nil {
		return err
	}
	config, err := b.config()
	if err != nil {
		return err
	}
	if b.core, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	b.client = c
	b.versions()
	b.add("binding.yaml", "the QueueBinding, with its status", scrubbedBinding(binding))
	if err := b.objects(ctx, binding); err != nil {
		return err
	}
	if err := b.program(ctx, binding); err != nil {
		return err
	}
	path := cmp.Or(b.file, fmt.Sprintf("%s-%s.tar.gz", name, b.Clock.Now().UTC().Format("20060102T150405Z")))
	// Nobody else's to read: it tells of a cluster.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &failure{code: codeError, err: err, next: "name another file with --file, or move this one away"}
	}
	if err := errors.Join(b.write(f, binding), f.Close()); err != nil {
		return err
	}
	for _, what := range b.omitted {
		b.note("left out: %s", what)
	}
	fmt.Fprintln(b.Out, path)
	return nil
}

// add adds an object, or anything that becomes YAML, as a file.
func (b *bundler) add(name, about string, content any) {
	data, err := yaml.Marshal(content)
	if err != nil {
		b.omit(name, err)
		return
	}
	b.files = append(b.files, bundled{name, about, data})
}

func (b *bundler) omit(what string, err error) {
	b.omitted = append(b.omitted, fmt.Sprintf("%s: %v", what, err))
}

func (b *bundler) versions() {
	versions := map[string]string{"plugin": version.Get().String()}
	if server, err := b.core.Discovery().ServerVersion(); err != nil {
		b.omit("the version of the cluster", err)
	} else {
		versions["cluster"] = server.GitVersion
	}
	b.add("versions.yaml", "versions of this plugin and of the cluster; the operator's image is in operator/", versions)
}

// objects adds the binding's Jobs, Pods and events.
func (b *bundler) objects(ctx context.Context, binding *v1alpha1.QueueBinding) error {
	ours := []client.ListOption{client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name}}
	names := map[string]bool{binding.Name: true}
	err := gather(ctx, b, "jobs.yaml", "the Jobs: no templates", &batchv1.JobList{}, func(list *batchv1.JobList) []batchv1.Job { return list.Items },
		func(j *batchv1.Job) any {
			names[j.Name] = true
			return scrubbedJob(j)
		}, ours...)
	if err != nil {
		return err
	}
	err = gather(ctx, b, "pods.yaml", "the Jobs' Pods: no environment, no termination messages", &corev1.PodList{}, func(list *corev1.PodList) []corev1.Pod { return list.Items },
		func(p *corev1.Pod) any {
			names[p.Name] = true
			return scrubbedPod(p)
		}, ours...)
	if err != nil {
		return err
	}
	return gather(ctx, b, "events.yaml", "events of the binding, its Jobs and Pods; the binding's alone with their notes", &eventsv1.EventList{}, func(list *eventsv1.EventList) []eventsv1.Event { return list.Items },
		func(e *eventsv1.Event) any {
			if !names[e.Regarding.Name] {
				return nil
			}
			return scrubbedEvent(e, binding)
		}, client.InNamespace(binding.Namespace))
}

// program adds the Deployments of operator and server, their Pods and their logs.
func (b *bundler) program(ctx context.Context, binding *v1alpha1.QueueBinding) error {
	theirs := []client.ListOption{client.InNamespace(b.operators), client.MatchingLabels{programLabel: programName}}
	err := gather(ctx, b, "operator/deployments.yaml", "the Deployments of operator and server: no environment", &appsv1.DeploymentList{},
		func(list *appsv1.DeploymentList) []appsv1.Deployment { return list.Items }, func(d *appsv1.Deployment) any { return scrubbedDeployment(d) }, theirs...)
	if err != nil {
		return err
	}
	type container struct{ pod, name string }
	var containers []container
	err = gather(ctx, b, "operator/pods.yaml", "their Pods", &corev1.PodList{}, func(list *corev1.PodList) []corev1.Pod { return list.Items },
		func(p *corev1.Pod) any {
			for _, each := range p.Spec.Containers {
				containers = append(containers, container{p.Name, each.Name})
			}
			return scrubbedPod(p)
		}, theirs...)
	if err != nil {
		return err
	}
	for _, each := range containers[:min(len(containers), 10)] {
		if err := b.log(ctx, binding, each.pod, each.name); err != nil {
			return err
		}
	}
	return nil
}

// log adds the end of a log of the operator's, without its lines about other bindings.
func (b *bundler) log(ctx context.Context, binding *v1alpha1.QueueBinding, pod, container string) error {
	name := fmt.Sprintf("operator/%s-%s.log", pod, container)
	stream, err := b.core.CoreV1().Pods(b.operators).GetLogs(pod, &corev1.PodLogOptions{Container: container, TailLines: new(int64(bundledLogLines))}).Stream(ctx)
	if err != nil {
		b.omit(name, err)
		return ctx.Err()
	}
	defer stream.Close()
	data, err := io.ReadAll(io.LimitReader(stream, bundledLogBytes))
	if err != nil {
		b.omit("the end of "+name, err)
	}
	b.files = append(b.files, bundled{name, "the last lines that are about this binding or about none", linesOf(data, binding.Namespace+"/"+binding.Name)})
	return ctx.Err()
}

// linesOf returns those lines of a log that are about one binding, or about none. Lines that are not the log's JSON are left out: who knows
// what they are about.
func linesOf(log []byte, binding string) []byte {
	var kept bytes.Buffer
	for line := range bytes.Lines(log) {
		said := struct {
			Binding *string `json:"binding"`
		}{}
		if json.Unmarshal(line, &said) == nil && (said.Binding == nil || *said.Binding == binding) {
			kept.Write(line)
		}
	}
	return kept.Bytes()
}

// gather adds a list of objects, page by page: the newest of them, each as scrub leaves it. A nil is left out. An error of the cluster is
// told in the bundle and ends nothing, unless the caller does not wait any more.
func gather[L client.ObjectList, T any](ctx context.Context, b *bundler, name, about string, list L, items func(L) []T, scrub func(*T) any, options ...client.ListOption) error {
	var kept []any
	dropped := 0
	for {
		page := append(slices.Clip(options), client.Limit(bundlePage), client.Continue(list.GetContinue()))
		if err := b.client.List(ctx, list, page...); err != nil {
			b.omit(name, err)
			return ctx.Err()
		}
		for _, each := range items(list) {
			if object := scrub(&each); object != nil {
				kept = append(kept, object)
			}
		}
		slices.SortStableFunc(kept, func(x, y any) int { return createdOf(y).Compare(createdOf(x)) })
		if more := len(kept) - bundledObjects; more > 0 {
			dropped += more
			kept = kept[:bundledObjects]
		}
		if list.GetContinue() == "" {
			break
		}
	}
	if dropped > 0 {
		b.omit(name, fmt.Errorf("the %d oldest, beyond %d", dropped, bundledObjects))
	}
	b.add(name, about, kept)
	return nil
}

func createdOf(object any) time.Time {
	if made, ok := object.(client.Object); ok {
		return made.GetCreationTimestamp().Time
	}
	return time.Time{}
}

// write writes the archive, the manifest first.
func (b *bundler) write(w io.Writer, binding *v1alpha1.QueueBinding) error {
	now := b.Clock.Now().UTC()
	var manifest strings.Builder
	fmt.Fprintf(&manifest, "QueueBinding %s/%s, %s\n\nIn this bundle:\n", binding.Namespace, binding.Name, now.Format(time.RFC3339))
	for _, f := range b.files {
		fmt.Fprintf(&manifest, "- %s: %s\n", f.name, f.about)
	}
	fmt.Fprint(&manifest, "\nLeft out always: messages, Secrets, values of environment variables, commands and arguments, annotations,\nwhat containers wrote, and what others say of them.\n\nLeft out this time:\n")
	for _, what := range b.omitted {
		fmt.Fprintf(&manifest, "- %s\n", what)
	}
	if len(b.omitted) == 0 {
		fmt.Fprintln(&manifest, "- nothing")
	}
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	for _, f := range append([]bundled{{"MANIFEST", "", []byte(manifest.String())}}, b.files...) {
		header := &tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: now}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}
