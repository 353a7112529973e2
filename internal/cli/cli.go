// Package cli is the kubectl plugin `kubectl queuebinding`: the few commands that make a day with failed work short. It
// does nothing that its caller could not do with kubectl and the AWS CLI: it uses the caller's own rights in the cluster
// and, for queues, the caller's own AWS identity. What it prints to a pipe is plain and stable; colour, progress bars and
// live views are for terminals. Its input, output, clock and queues are injected.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/version"
)

// program is what the plugin is called as a program.
const program = "kubectl-queuebinding"

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	utilruntime.Must(subresources.AddToScheme(scheme))
}

// Env is what the plugin has of the world.
type Env struct {
	genericiooptions.IOStreams
	Clock clock.WithTicker
	// Queues opens queues with the caller's AWS identity.
	Queues queue.Opener
	// OutTerminal and ErrTerminal tell that output and messages go to a person.
	OutTerminal, ErrTerminal bool
	// Colour tells that a person wants colours, Blocks that they see Unicode's block elements too.
	Colour, Blocks bool
}

// NewEnv is the process's own.
func NewEnv(queues queue.Opener) *Env {
	env := &Env{
		IOStreams:   genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		Clock:       clock.RealClock{},
		Queues:      queues,
		OutTerminal: isTerminal(os.Stdout),
		ErrTerminal: isTerminal(os.Stderr),
	}
	env.Colour = env.OutTerminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	env.Blocks = env.Colour && isUTF8(os.Getenv)
	return env
}

// isUTF8 reports whether the locale's characters are UTF-8: the first variable that is set decides, as in POSIX.
func isUTF8(getenv func(string) string) bool {
	charset := strings.ToLower(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	return strings.Contains(charset, "utf-8") || strings.Contains(charset, "utf8")
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// plugin is what all commands share: the caller's cluster, streams and clock.
type plugin struct {
	*Env
	flags *genericclioptions.ConfigFlags
}

// NewCommand makes the plugin's command.
func NewCommand(env *Env) *cobra.Command {
	p := &plugin{Env: env, flags: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use:   program,
		Short: "Look after queues and their Jobs",
		Long: `Look after QueueBindings: what runs, what failed and with which message, and
how to put it back on its queue.

Exit codes:

    0  all was done
    1  an error
    2  the command was not understood
    3  some of what was asked for was refused, the rest was done
    4  the time to wait was over

For completion in a shell, put kubectl_complete-queuebinding beside the plugin.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl queuebinding"},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misuse(cmd, err) })
	root.CompletionOptions.HiddenDefaultCmd = true // kubectl completes plugins in a way of its own
	p.flags.AddFlags(root.PersistentFlags())
	root.AddCommand(
		newListCommand(p), newDescribeCommand(p), newFailuresCommand(p), newMessageCommand(p), newRequeueCommand(p),
		newSendCommand(p), newPeekCommand(p), newWatchCommand(p), newLogsCommand(p), newDebugCommand(p), newConvertCommand(p),
		newVersionCommand(p),
	)
	if err := root.RegisterFlagCompletionFunc("namespace", completion{p}.namespaces); err != nil {
		panic(err) // there is no such flag: a mistake in this file
	}
	return root
}

// Run runs the plugin and returns its exit code.
func Run(ctx context.Context, env *Env, args []string) int {
	root := NewCommand(env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return codeDone
	}
	var failure *failure
	if !errors.As(err, &failure) {
		failure = explain(err)
	}
	if failure.err != nil {
		fmt.Fprintf(env.ErrOut, "error: %s\n", printable(failure.err.Error()))
	}
	if failure.next != "" {
		fmt.Fprintf(env.ErrOut, "next: %s\n", printable(failure.next))
	}
	return failure.code
}

// config leads to the cluster with the caller's rights.
func (p *plugin) config() (*rest.Config, error) {
	config, err := p.flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // the API server shares itself out
	config.UserAgent = version.UserAgent(program)
	return config, nil
}

// client makes a client with the caller's rights.
func (p *plugin) client() (client.WithWatch, error) {
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}

func (p *plugin) dynamic() (dynamic.Interface, error) {
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	return dynamic.NewForConfig(config)
}

func (p *plugin) namespace() (string, error) {
	namespace, _, err := p.flags.ToRawKubeConfigLoader().Namespace()
	return namespace, err
}

// binding reads a binding by name.
func (p *plugin) binding(ctx context.Context, name string) (client.WithWatch, *v1alpha1.QueueBinding, error) {
	namespace, err := p.namespace()
	if err != nil {
		return nil, nil, err
	}
	c, err := p.client()
	if err != nil {
		return nil, nil, err
	}
	binding := &v1alpha1.QueueBinding{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, binding); err != nil {
		return nil, nil, err
	}
	return c, binding, nil
}

// note tells a person something that is no result.
func (p *plugin) note(format string, args ...any) {
	fmt.Fprintf(p.ErrOut, "note: %s\n", printable(fmt.Sprintf(format, args...)))
}
