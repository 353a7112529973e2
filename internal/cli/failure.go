package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// Exit codes, documented in the root command.
const (
	codeDone    = 0
	codeError   = 1
	codeMisuse  = 2
	codeRefused = 3
	codeTimeout = 4
)

// failure is an error that says how the process ends and what to do next.
type failure struct {
	code int
	// err is nil where all was said already.
	err  error
	next string
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit code %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// misuse is a command line that is not understood.
func misuse(cmd *cobra.Command, err error) error {
	return &failure{code: codeMisuse, err: err, next: fmt.Sprintf("see `%s --help`", cmd.CommandPath())}
}

// args checks the number of a command's arguments and says what they are for.
func args(least, most int, usage string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) < least || most >= 0 && len(given) > most {
			return misuse(cmd, fmt.Errorf("%s takes %s, and %d arguments are given", cmd.CommandPath(), usage, len(given)))
		}
		return nil
	}
}

// misuses are how cobra's errors begin that it does not let be wrapped.
var misuses = []string{"unknown command", "at least one of the flags", "if any flags in the group"}

// explain finds the next step for errors of the cluster and of queues.
func explain(err error) *failure {
	f := &failure{code: codeError, err: err}
	var network net.Error
	problem, isQueue := errors.AsType[*queue.Error](err)
	status := apierrors.APIStatus(nil)
	switch {
	case slices.ContainsFunc(misuses, func(prefix string) bool { return strings.HasPrefix(err.Error(), prefix) }):
		f.code, f.next = codeMisuse, "see `kubectl queuebinding --help`"
	case isQueue && problem.Reason == queue.CredentialsUnavailable:
		f.next = "the plugin uses your own AWS credentials, not the operator's: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	case isQueue && problem.Reason == queue.AccessDenied:
		f.next = "the plugin uses your own AWS identity, not the operator's: see which with `aws sts get-caller-identity`, and what it may do with the queue"
	case isQueue && problem.Reason == queue.NotFound:
		f.next = "compare the binding's spec.queue.url with `aws sqs list-queues`, and AWS_REGION and AWS_ENDPOINT_URL_SQS with the operator's"
	case isQueue && problem.Reason == queue.Unreachable:
		f.next = "check the network, and AWS_ENDPOINT_URL_SQS if it is set"
	case meta.IsNoMatchError(err):
		f.next = "QueueBinding is not installed in this cluster, or this is another cluster: see `kubectl config current-context`"
	case clientcmd.IsEmptyConfig(err), clientcmd.IsContextNotFound(err):
		f.next = "choose a cluster with --context or KUBECONFIG: see `kubectl config get-contexts`"
	case apierrors.IsNotFound(err) && errors.As(err, &status):
		f.next = "see `kubectl queuebinding list -A` for the bindings there are, and --namespace"
		if details := status.Status().Details; details != nil && details.Kind == "jobs" {
			f.next = "see `kubectl queuebinding failures NAME` for the failed Jobs there are, and --namespace"
		}
	case apierrors.IsForbidden(err):
		f.next = "ask for the ClusterRole queuebinding-requeuer in this namespace, or the right that the error names"
	case apierrors.IsUnauthorized(err):
		f.next = "log in to the cluster again"
	case errors.Is(err, context.Canceled):
		f.err = errors.New("interrupted")
	case errors.As(err, &network):
		f.next = "check that the cluster can be reached: `kubectl cluster-info`"
	}
	return f
}
