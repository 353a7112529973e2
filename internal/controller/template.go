package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
)

// dryRunTimeout bounds the dry run of a sample Job.
const dryRunTimeout = 10 * time.Second

// templateCheck is what is known of a binding's template and variables.
type templateCheck struct {
	uid        types.UID
	generation int64
	tried      time.Time
	// suspicions are those of the intake that the check has looked into.
	suspicions int

	variables       *job.Variables
	status          metav1.ConditionStatus
	reason, message string
}

func (v templateCheck) condition() metav1.Condition {
	return metav1.Condition{Type: v1alpha1.ConditionJobTemplateValid, Status: v.status, Reason: v.reason, Message: v.message}
}

// final reports whether the check stays until the binding changes.
func (v templateCheck) final() bool { return v.status == metav1.ConditionTrue || v.variables == nil }

// templateChecker checks templates, and remembers the outcome until the binding changes.
type templateChecker struct {
	client client.Client
	now    func() time.Time

	mu     sync.Mutex
	checks map[types.NamespacedName]templateCheck
}

// check returns what is known of a binding as it is now. It is checked again when the intake has come to suspect the template.
func (t *templateChecker) check(ctx context.Context, binding *v1alpha1.QueueBinding, suspicions int) templateCheck {
	key := client.ObjectKeyFromObject(binding)
	t.mu.Lock()
	known, ok := t.checks[key]
	t.mu.Unlock()
	if ok && known.uid == binding.UID && known.generation == binding.Generation && known.suspicions == suspicions &&
		(known.final() || t.now().Sub(known.tried) < tryAgain) {
		return known
	}
	// Several messages in a row were rejected since the last check.
	suspected := ok && known.uid == binding.UID && known.generation == binding.Generation && suspicions > known.suspicions
	fresh := t.try(ctx, binding, suspected)
	fresh.uid, fresh.generation, fresh.tried, fresh.suspicions = binding.UID, binding.Generation, t.now(), suspicions
	t.mu.Lock()
	t.checks[key] = fresh
	t.mu.Unlock()
	return fresh
}

func (t *templateChecker) forget(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.checks, key)
}

// try compiles the variables and has the API server validate a sample Job. suspected reports whether messages are being rejected.
func (t *templateChecker) try(ctx context.Context, binding *v1alpha1.QueueBinding, suspected bool) templateCheck {
	variables, err := job.CompileVariables(binding.Spec.Message.Variables)
	if err != nil {
		return templateCheck{status: metav1.ConditionFalse, reason: v1alpha1.ReasonExpressionInvalid, message: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, dryRunTimeout)
	defer cancel()
	outcome := templateCheck{variables: variables}
	sample, err := job.Sample(binding)
	mayStore := true
	if err == nil {
		mayStore = t.mayStore(ctx, sample)
		err = t.client.Create(ctx, sample, client.DryRunAll)
	}
	switch {
	case !mayStore:
		outcome.status, outcome.reason = metav1.ConditionFalse, v1alpha1.ReasonForbidden
		outcome.message = fmt.Sprintf("With message.delivery File the operator keeps messages in Secrets, and it may not create Secrets in namespace %s: "+
			"ask an administrator to grant it file-delivery-role there (config/rights/file-delivery), or use delivery Env", binding.Namespace)
	case err == nil:
		outcome.status, outcome.reason = metav1.ConditionTrue, v1alpha1.ReasonAccepted
		outcome.message = "The API server accepts a sample Job"
	case isRejection(err), creator.IsInvalid(err), suspected && creator.IsDenied(err):
		outcome.status, outcome.reason = metav1.ConditionFalse, v1alpha1.ReasonJobInvalid
		outcome.message = events.Truncate(fmt.Sprintf("A sample Job of jobTemplate is refused: %v", err))
	default:
		// A webhook that takes no dry runs, a webhook or policy that minds the sample's values, a quota, an API server in trouble:
		// none of them is surely the template's fault. What denies messages and the sample alike is found by the rejections; it is tried
		// again like all that is not final, so that messages which are rejected for themselves stop the binding no longer than that.
		outcome.status, outcome.reason = metav1.ConditionUnknown, v1alpha1.ReasonNotChecked
		outcome.message = events.Truncate(fmt.Sprintf("A sample Job could not be tried: %v", err))
	}
	return outcome
}

// mayStore reports whether the operator may create the Secrets of a sample Job, as far as is known. Where it may not, a message that it
// received would have to wait for the right.
func (t *templateChecker) mayStore(ctx context.Context, sample *batchv1.Job) bool {
	secrets, err := job.SampleSecrets(sample)
	if err != nil || len(secrets) == 0 {
		return true
	}
	return !creator.IsRightMissing(t.client.Create(ctx, secrets[0], client.DryRunAll))
}
