package creator

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/timer"
)

const (
	// missingAfter is when a Job that was created and not seen is looked for, missingAgain after how long again.
	missingAfter = 15 * time.Second
	missingAgain = 5 * time.Second
	// pageSize is how many Jobs are listed at a time.
	pageSize = 500
)

// Recovery finds out about Jobs that the cache has not shown: those of an operator before this one, by one consistent list at
// the start, and those whose creation was never seen, one by one.
type Recovery struct {
	stopped  context.Context
	requests *requests
	secrets  *secrets
	gate     *gate
	ledger   *ledger.Ledger
	clock    clock.Clock
	log      logr.Logger
	binding  types.NamespacedName
	uid      types.UID
	// handBack gives a message back whose Job lost its Secret.
	handBack func(receiptHandle string)
	// maxClaims is how many Jobs' Secrets are claimed.
	maxClaims int
	blocked   func(reason, message string)

	timer  *timer.Timer
	claims sync.WaitGroup
}

// NewRecovery makes the Recovery beside a Creator. maxClaims is how many messages the operators before this one may have been
// at work on.
func NewRecovery(c *Creator, o Options, maxClaims int, handBack func(receiptHandle string)) *Recovery {
	r := &Recovery{
		stopped: c.stopped, requests: c.requests, secrets: c.secrets, gate: c.gate, ledger: c.ledger, clock: o.Clock, log: o.Log,
		binding: o.Binding, uid: o.UID, handBack: handBack, maxClaims: maxClaims, blocked: o.Blocked,
	}
	r.timer = timer.New(o.Clock, r.findMissing)
	return r
}

// ExpectExisting reserves slots for Jobs that exist and that the cache does not show yet: the list that a cache starts from may
// be older than the last Jobs of the operator before. It returns false when stopped ends before that has succeeded.
func (r *Recovery) ExpectExisting() bool {
	backoff := timer.Backoff()
	for r.stopped.Err() == nil {
		err := r.listExisting()
		if err == nil {
			r.blocked("", "")
			r.ExpectSoon()
			return true
		}
		blocked := blockedBy(err)
		r.blocked(blocked.Reason, blocked.Error())
		r.log.Error(err, "Could not list the Jobs of the binding")
		timer.Sleep(r.stopped, r.clock, backoff.Step())
	}
	return false
}

// ExpectSoon has Jobs looked for that are not seen in time.
func (r *Recovery) ExpectSoon() { r.timer.FireBy(r.clock.Now().Add(missingAfter)) }

// Close waits for what is under way. Requests that would go on end with the Creator's context.
func (r *Recovery) Close() {
	r.claims.Wait()
	r.timer.Stop()
}

func (r *Recovery) listExisting() error {
	var inFiles []metav1.ObjectMeta
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	options := []client.ListOption{client.InNamespace(r.binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: r.binding.Name}, client.Limit(pageSize)}
	for {
		ctx, cancel := context.WithTimeout(r.stopped, requestTimeout)
		err := r.requests.reader.List(ctx, list, options...)
		cancel()
		if err != nil {
			return err
		}
		for i := range list.Items {
			each := &list.Items[i]
			if job.Owner(each) != r.uid {
				continue
			}
			r.ledger.Expect(each.Name)
			if job.HasFiles(each) {
				inFiles = append(inFiles, metav1.ObjectMeta{Name: each.Name, UID: each.UID, CreationTimestamp: each.CreationTimestamp})
			}
		}
		if list.Continue == "" {
			r.claims.Go(func() { r.claim(inFiles) })
			return nil
		}
		options = append(options[:3:3], client.Continue(list.Continue))
	}
}

// claim makes the Secrets of the newest Jobs their own, where an operator ended before it did. The message would do so too, but
// may not come back for long, or at all.
func (r *Recovery) claim(jobs []metav1.ObjectMeta) {
	slices.SortFunc(jobs, func(a, b metav1.ObjectMeta) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	jobs = jobs[:min(len(jobs), r.maxClaims)]
	backoff := timer.Backoff()
	for {
		jobs = slices.DeleteFunc(jobs, r.claimSecrets)
		if len(jobs) == 0 || r.requests.ctx.Err() != nil {
			return
		}
		timer.Sleep(r.requests.ctx, r.clock, backoff.Step())
	}
}

// claimSecrets makes the Secrets of a Job the Job's own. It returns false where that is to be tried again.
func (r *Recovery) claimSecrets(each metav1.ObjectMeta) bool {
	owner, err := r.requests.readJob(each.Name)
	if apierrors.IsNotFound(err) || err == nil && owner.UID != each.UID {
		return true
	}
	if err != nil {
		return false
	}
	record := job.Observe(owner)
	for _, name := range job.SecretNames(owner) {
		err := r.secrets.own(named(name), owner)
		if apierrors.IsNotFound(err) {
			if record.State == job.Active && record.MessageOnQueue() {
				r.handBack(record.Receipt.Handle) // nothing else tells what was in it
			}
			return true
		}
		if isBlocked(err) {
			r.log.V(1).Info("Could not claim a Secret", "secret", name, "cause", err.Error())
			return false
		}
	}
	return true
}

// findMissing looks for Jobs whose creation was never seen: because it did not happen, or because they were gone again before
// the cache saw them. It returns when to look again, if there is anything to look for.
func (r *Recovery) findMissing() time.Time {
	names, more := r.ledger.Overdue(r.clock.Now().Add(-missingAfter))
	for _, name := range names {
		if r.stopped.Err() != nil || r.gate.isClosed() {
			break // the ones that wait there are still to be created
		}
		existing, err := r.requests.readJob(name)
		if apierrors.IsNotFound(err) || err == nil && job.Observe(existing).State != job.Active {
			r.ledger.Cancel(name)
		}
	}
	if !more || r.stopped.Err() != nil {
		return time.Time{}
	}
	return r.clock.Now().Add(missingAgain)
}
