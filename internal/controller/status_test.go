package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/intake"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/queue"
)

func aBinding(change ...func(*v1alpha1.QueueBinding)) *v1alpha1.QueueBinding {
	binding := &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "pings", Generation: 3}}
	binding.Spec.FailedJobsHistoryLimit = new(int32(1))
	for _, c := range change {
		c(binding)
	}
	return binding
}

// fine is what is observed of a binding without trouble.
func fine(change ...func(*observed)) observed {
	o := observed{
		report:   intake.Report{QueueHeard: true, Stats: &queue.Stats{VisibleMessages: 7, DeadLetterQueueARN: "arn"}},
		starting: podsStart(),
		template: templateCheck{status: metav1.ConditionTrue, reason: v1alpha1.ReasonAccepted, message: "m", variables: &job.Variables{}},
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func TestReady(t *testing.T) {
	suspended := func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true }
	stopped := func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(0)) }
	invalid := func(o *observed) {
		o.template.status, o.template.reason = metav1.ConditionFalse, v1alpha1.ReasonExpressionInvalid
	}
	unchecked := func(o *observed) {
		o.template.status, o.template.reason = metav1.ConditionUnknown, v1alpha1.ReasonNotChecked
	}
	unreachable := func(o *observed) { o.report.QueueReason, o.report.QueueMessage = v1alpha1.ReasonQueueNotFound, "m" }
	unheard := func(o *observed) { o.report = intake.Report{} }
	blocked := func(o *observed) { o.report.BlockedReason, o.report.BlockedMessage = v1alpha1.ReasonQuotaExceeded, "m" }
	failed := func(o *observed) {
		o.history = historyOf(jobsOf([]record{aJob("a", job.Failed, 1)}), ledger.Limits{KeepFailed: 1}, time.Unix(10, 0))
	}
	full := func(o *observed) { o.history.stored, o.history.storedReached = 512<<20, true }
	for name, tc := range map[string]struct {
		binding *v1alpha1.QueueBinding
		o       observed
		want    string
	}{
		"fine":                               {aBinding(), fine(), "True Running"},
		"suspended":                          {aBinding(suspended), fine(), "True Suspended"},
		"no Jobs allowed":                    {aBinding(stopped), fine(), "True Suspended"},
		"not heard of the queue yet":         {aBinding(), fine(unheard), "Unknown Starting"},
		"no queue":                           {aBinding(), fine(unreachable), "False QueueNotFound"},
		"no queue, but nobody wants it":      {aBinding(suspended), fine(unreachable), "True Suspended"},
		"template invalid":                   {aBinding(), fine(invalid), "False ExpressionInvalid"},
		"template invalid, though suspended": {aBinding(suspended), fine(invalid), "False ExpressionInvalid"},
		"template not checked":               {aBinding(), fine(unchecked), "True Running"},
		"quota":                              {aBinding(), fine(blocked), "False QuotaExceeded"},
		"as many bytes as may be":            {aBinding(), fine(full), "False StoredBytesLimitReached"},
		"failed Jobs at their limit":         {aBinding(), fine(failed), "False FailedJobsLimitReached"},
	} {
		t.Run(name, func(t *testing.T) {
			status := statusOf(tc.binding, tc.o, metav1.Now())
			got := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
			if fmt.Sprintf("%s %s", got.Status, got.Reason) != tc.want || got.Message == "" || got.ObservedGeneration != 3 {
				t.Errorf("got %+v, want %s", got, tc.want)
			}
		})
	}
}

// A status that says nothing new is not written, so that it must not differ from what the API server gives back.
func TestAStatusIsTheSameAfterTheAPIServer(t *testing.T) {
	binding := aBinding()
	o := fine(func(o *observed) {
		o.history = summary([]record{aJob("a", job.Failed, 1), aJob("b", job.Active, 2), aJob("c", job.Succeeded, 3)})
		o.report.LastRejection = &v1alpha1.Rejection{Time: metav1.NewTime(time.Unix(5, 0))}
	})
	first := statusOf(binding, o, metav1.NewTime(time.Unix(100, 0)))
	binding.Status = first
	o.report.Stats, o.report.LastRejection = nil, nil // as after a restart
	second := statusOf(binding, o, metav1.NewTime(time.Unix(200, 0)))
	o.report.Stats = fine().report.Stats
	if third := statusOf(binding, o, metav1.NewTime(time.Unix(300, 0))); !equality.Semantic.DeepEqual(first, third) {
		t.Errorf("got %+v, want %+v", third, first)
	}
	if second.Queue == nil || second.LastRejection == nil || !second.LastJobCreationTime.Equal(first.LastJobCreationTime) {
		t.Errorf("what was seen before is lost: %+v", second)
	}
}

// The port's reasons are what QueueReachable bears: they must be the ones that the API documents.
func TestReasonsOfTheQueueAreTheAPIs(t *testing.T) {
	for reason, want := range map[queue.Reason]string{
		queue.NotFound:               v1alpha1.ReasonQueueNotFound,
		queue.AccessDenied:           v1alpha1.ReasonAccessDenied,
		queue.CredentialsUnavailable: v1alpha1.ReasonCredentialsUnavailable,
		queue.KMSError:               v1alpha1.ReasonKMSError,
		queue.Throttled:              v1alpha1.ReasonThrottled,
		queue.Unreachable:            v1alpha1.ReasonUnreachable,
		queue.InvalidQueue:           v1alpha1.ReasonInvalidQueue,
		queue.NotAllowed:             v1alpha1.ReasonNotAllowed,
	} {
		if string(reason) != want {
			t.Errorf("the port says %s, the API %s", reason, want)
		}
	}
}

func TestRecentFailuresAreTheNewestTen(t *testing.T) {
	var records []record
	for i := range 12 {
		records = append(records, aJob(fmt.Sprintf("j%02d", i), job.Failed, i))
	}
	failures := statusOf(aBinding(), fine(func(o *observed) { o.history = summary(records) }), metav1.Now()).RecentFailures
	if len(failures) != 10 || failures[0].JobName != "j11" || failures[9].JobName != "j02" {
		t.Errorf("got %+v", failures)
	}
}

func TestAQueueWithoutRedrivePolicyIsTold(t *testing.T) {
	status := statusOf(aBinding(), fine(func(o *observed) { o.report.Stats.DeadLetterQueueARN = "" }), metav1.Now())
	if got := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionQueueReachable); !strings.Contains(got.Message, "no redrive policy") {
		t.Errorf("got %q", got.Message)
	}
}
