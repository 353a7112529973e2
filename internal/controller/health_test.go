package controller

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/test/health"
)

// asStored is a binding as the API server would show it.
func asStored(t *testing.T, binding *v1alpha1.QueueBinding) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(binding)
	if err != nil {
		t.Fatal(err)
	}
	// Through JSON, so that numbers are those of a decoder.
	data, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(append(data[:len(data)-1], `,"apiVersion":"queuebinding.dev/v1alpha1","kind":"QueueBinding"}`...)); err != nil {
		t.Fatal(err)
	}
	return object
}

// What other people's tools say of a binding in each of its states: nobody waits for ever for what a user chose, and nobody takes
// for done what is not.
func TestHealthInEveryState(t *testing.T) {
	const current, inProgress, terminating = "Current", "InProgress", "Terminating"
	type state struct {
		binding              *v1alpha1.QueueBinding
		observed             observed
		wantKstatus, wantLua string
	}
	suspended := func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true }
	states := map[string]state{
		"running":           {aBinding(), fine(), current, "Healthy Running: "},
		"suspended":         {aBinding(suspended), fine(), current, "Suspended Suspended: "},
		"scaled to nothing": {aBinding(func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(0)) }), fine(), current, "Suspended Suspended: "},
		"starting":          {aBinding(), fine(func(o *observed) { o.report.QueueHeard = false }), inProgress, "Progressing Starting: "},
		"template not checked": {aBinding(), fine(func(o *observed) {
			o.template.status, o.template.reason = metav1.ConditionUnknown, v1alpha1.ReasonNotChecked
		}), current, "Healthy Running: "},
		"as many bytes as may be": {aBinding(), fine(func(o *observed) { o.history.storedReached = true }), inProgress, "Degraded StoredBytesLimitReached: "},
		"failed Jobs at their limit": {aBinding(), fine(func(o *observed) {
			o.history = historyOf(jobsOf([]record{aJob("a", job.Failed, 1)}), ledger.Limits{KeepFailed: 1}, time.Unix(10, 0))
		}), inProgress, "Degraded FailedJobsLimitReached: "},
		"suspended without a queue": {aBinding(suspended), fine(func(o *observed) { o.report.QueueReason = v1alpha1.ReasonQueueNotFound }), current, "Suspended Suspended: "},
	}
	for _, reason := range []string{
		v1alpha1.ReasonQueueNotFound, v1alpha1.ReasonAccessDenied, v1alpha1.ReasonCredentialsUnavailable, v1alpha1.ReasonKMSError,
		v1alpha1.ReasonThrottled, v1alpha1.ReasonUnreachable, v1alpha1.ReasonInvalidQueue,
	} {
		states["queue: "+reason] = state{aBinding(), fine(func(o *observed) { o.report.QueueReason = reason }), inProgress, "Degraded " + reason + ": "}
	}
	for _, reason := range []string{
		v1alpha1.ReasonQuotaExceeded, v1alpha1.ReasonForbidden, v1alpha1.ReasonWebhookUnavailable, v1alpha1.ReasonAPIServerUnavailable,
		v1alpha1.ReasonNamespaceTerminating,
	} {
		states["cluster: "+reason] = state{aBinding(), fine(func(o *observed) { o.report.BlockedReason = reason }), inProgress, "Degraded " + reason + ": "}
	}
	for _, reason := range []string{v1alpha1.ReasonJobInvalid, v1alpha1.ReasonExpressionInvalid} {
		for name, binding := range map[string]*v1alpha1.QueueBinding{"template: ": aBinding(), "suspended, template: ": aBinding(suspended)} {
			states[name+reason] = state{binding, fine(func(o *observed) {
				o.template.status, o.template.reason = metav1.ConditionFalse, reason
			}), inProgress, "Degraded " + reason + ": "}
		}
	}
	for name, tc := range states {
		t.Run(name, func(t *testing.T) {
			tc.binding.Status = statusOf(tc.binding, tc.observed, metav1.Now())
			judge(t, tc.binding, tc.wantKstatus, tc.wantLua)
			// Whatever it was, a change that the operator has not seen is waited for.
			changed := tc.binding.DeepCopy()
			changed.Generation++
			judge(t, changed, inProgress, "Progressing ")
			deleting := tc.binding.DeepCopy()
			deleting.DeletionTimestamp = new(metav1.Now())
			judge(t, deleting, terminating, "Progressing ")
		})
	}
}

func judge(t *testing.T, binding *v1alpha1.QueueBinding, wantKstatus, wantLua string) {
	t.Helper()
	object := asStored(t, binding)
	if got, err := health.KStatus(object); err != nil || got != wantKstatus {
		t.Errorf("kstatus: got %s, %v; want %s", got, err, wantKstatus)
	}
	if got, err := health.ArgoCD(object); err != nil || !strings.HasPrefix(got, wantLua) {
		t.Errorf("Argo CD: got %q, %v; want %q", got, err, wantLua)
	}
}
