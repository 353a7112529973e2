package manager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/queuebinding/queuebinding/internal/timer"
)

// checkAgain is when the namespaces are looked at again. A process that left some out ends once it may work in one of them; longer
// than the ten minutes after which the kubelet forgets earlier restarts, so that whoever can take rights in one namespace away, and
// give them again, cannot keep the others waiting.
const checkAgain = 12 * time.Minute

// parseNamespaces returns the names in a list that commas separate.
func parseNamespaces(list string) ([]string, error) {
	if strings.TrimSpace(list) == "" {
		return nil, errors.New("it names no namespace: name some, or leave the flag out to work in all")
	}
	names := strings.Split(list, ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
		if names[i] == "" {
			return nil, fmt.Errorf("%q has an empty name: take one comma away", list)
		}
		if problems := validation.IsDNS1123Label(names[i]); len(problems) > 0 {
			return nil, fmt.Errorf("%q is no name of a namespace: %s", names[i], problems[0])
		}
		if slices.Contains(names[:i], names[i]) {
			return nil, fmt.Errorf("%q is named twice: name it once", names[i])
		}
	}
	return names, nil
}

// namespaces are those that a process is to work in, as Roles allow. What is missing for one of them must not keep it from the
// others, as who may change rights there has none in these. But an informer that may not list waits, and all informers of a cache
// with it. So a process leaves out the namespaces that it may not work in when it starts, is not ready, and ends once it may: started
// again, it reads everything about the namespace before it does anything there, as it does with all.
type namespaces struct {
	names []string
	// watches are what the process watches in each of them.
	watches []schema.GroupResource
	client  kubernetes.Interface
	clock   clock.WithTicker

	// leftOut are those that the cache does not have.
	leftOut []string
	problem atomic.Pointer[string]
}

// newNamespaces makes the namespaces of a list, none where it is nil: then a process works in all.
func newNamespaces(list *string, watches []schema.GroupResource, config *rest.Config) (*namespaces, error) {
	n := &namespaces{watches: watches, clock: clock.RealClock{}}
	if list == nil {
		return n, nil
	}
	var err error
	if n.names, err = parseNamespaces(*list); err != nil {
		return nil, fmt.Errorf("--namespaces: %w", err)
	}
	if n.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("client for the namespaces: %w", err)
	}
	return n, nil
}

// admit returns the namespaces that the process may work in by now. Its error says what to do where there are none.
func (n *namespaces) admit(ctx context.Context) ([]string, error) {
	refused, err := n.check(ctx)
	if err != nil {
		return nil, err
	}
	var admitted []string
	for _, name := range n.names {
		if _, ok := refused[name]; ok {
			n.leftOut = append(n.leftOut, name)
		} else {
			admitted = append(admitted, name)
		}
	}
	if len(n.names) > 0 && len(admitted) == 0 {
		return nil, errors.New(*n.problem.Load())
	}
	return admitted, nil
}

// check finds out which namespaces the process may not work in, and why not.
func (n *namespaces) check(ctx context.Context) (map[string]string, error) {
	refused := map[string]string{}
	var problems []string
	for _, name := range n.names {
		problem, err := n.refusal(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("find out what is allowed in namespace %s: %w", name, err)
		}
		if problem != "" {
			refused[name] = problem
			problems = append(problems, problem)
			ctrl.Log.WithName("namespaces").Error(errors.New(problem), "Left a namespace out of those to work in", "namespace", name)
		}
	}
	n.problem.Store(new(strings.Join(problems, "; ")))
	return refused, nil
}

// refusal returns why the process cannot work in a namespace, or nothing. Rights are asked about by a review, which everybody may
// create: it tells of one that is missing without reading what there is.
func (n *namespaces) refusal(ctx context.Context, name string) (string, error) {
	for _, resource := range n.watches {
		for _, verb := range []string{"list", "watch"} {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: name, Verb: verb, Group: resource.Group, Resource: resource.Resource},
			}}
			answer, err := n.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return "", err
			}
			if !answer.Status.Allowed {
				return fmt.Sprintf("namespace %s: no right to %s %s there. Create the namespace, if there is none, and in it the Roles and RoleBindings of "+
					"config/namespaced/rights, or take it off --namespaces", name, verb, resource), nil
			}
		}
	}
	if exists, err := n.exists(ctx, name); err != nil || exists {
		return "", err
	}
	return fmt.Sprintf("namespace %s: it does not exist. Create it, or take it off --namespaces", name), nil
}

// exists reports whether a namespace exists: where there is none, rights in all namespaces would hide a name that is misspelt. It is
// tried with an event that is not recorded, which is NotFound there, so that no right to read Namespaces is needed.
func (n *namespaces) exists(ctx context.Context, name string) (bool, error) {
	trial := &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: name, Name: "queuebinding-trial"},
		EventTime:           metav1.NewMicroTime(n.clock.Now()),
		ReportingController: "queuebinding.dev/namespaces", ReportingInstance: "trial", Action: "Try", Reason: "Trial", Type: "Normal",
	}
	_, err := n.client.EventsV1().Events(name).Create(ctx, trial, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err == nil, apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return true, nil // missing rights for events cost events only
	}
	return false, err
}

// cached returns the configuration of a cache of some namespaces, nil for all.
func cached(names []string) map[string]cache.Config {
	if len(names) == 0 {
		return nil
	}
	configs := make(map[string]cache.Config, len(names))
	for _, name := range names {
		configs[name] = cache.Config{}
	}
	return configs
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*namespaces) NeedLeaderElection() bool { return false }

// Start looks at the namespaces again and again. It returns an error, which ends the process, once one that was left out can be
// worked in. It implements manager.Runnable.
func (n *namespaces) Start(ctx context.Context) error {
	for timer.Sleep(ctx, n.clock, checkAgain); ctx.Err() == nil; timer.Sleep(ctx, n.clock, checkAgain) {
		refused, err := n.check(ctx)
		if err != nil {
			if ctx.Err() == nil {
				ctrl.Log.WithName("namespaces").Error(err, "Could not look at the namespaces")
			}
			continue
		}
		for _, name := range n.leftOut {
			if _, ok := refused[name]; !ok {
				return fmt.Errorf("namespace %s, which was left out, can be worked in now: start again", name)
			}
		}
	}
	return nil
}

// checkReady fails while the process cannot work in one of its namespaces.
func (n *namespaces) checkReady(*http.Request) error {
	if problem := n.problem.Load(); problem != nil && *problem != "" {
		return errors.New(*problem)
	}
	return nil
}
