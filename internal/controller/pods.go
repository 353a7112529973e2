package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/pods"
)

const (
	// podsTimeout bounds a read of Pods, all of one reconcile together: a status without them is better than none.
	podsTimeout = 5 * time.Second
	// podsPatience is how long a Job is without a ready Pod before it is asked why, podsInterval the time between two such questions
	// about a binding.
	podsPatience = 15 * time.Second
	podsInterval = 30 * time.Second
	// maxTermination is how much of a termination message the status has, in bytes.
	maxTermination = 256
)

// podsReader reads Pods of Jobs that failed, once each, and of Jobs whose Pods do not start, now and then. It remembers how those of each
// binding were when they were last read, as the answer to many reconciles.
type podsReader struct {
	reader client.Reader
	now    func() time.Time

	// reads lets one reconcile at a time have Pods in memory, which may hold messages.
	reads *semaphore.Weighted

	mu    sync.Mutex
	looks map[types.NamespacedName]podsLook
	// unread are Jobs that the status tells of without that their Pods could be read, by binding: ten at most of each.
	unread map[types.NamespacedName][]string
}

// podsLook is how a binding's Pods were, and when to look again.
type podsLook struct {
	condition metav1.Condition
	next      time.Time
}

func newPodsReader(reader client.Reader, now func() time.Time) *podsReader {
	return &podsReader{
		reader: reader, now: now, reads: semaphore.NewWeighted(1), looks: map[types.NamespacedName]podsLook{}, unread: map[types.NamespacedName][]string{},
	}
}

func (p *podsReader) forget(binding types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.looks, binding)
	delete(p.unread, binding)
}

// told are the ends of containers that the status tells of, by the Jobs' names, nil for those of which no Pod told.
func (p *podsReader) told(binding *v1alpha1.QueueBinding) map[string]*v1alpha1.ContainerEnd {
	p.mu.Lock()
	defer p.mu.Unlock()
	unread := p.unread[client.ObjectKeyFromObject(binding)]
	ends := map[string]*v1alpha1.ContainerEnd{}
	for i := range binding.Status.RecentFailures {
		if told := &binding.Status.RecentFailures[i]; !slices.Contains(unread, told.JobName) {
			ends[told.JobName] = told.Container
		}
	}
	return ends
}

// readEnds adds how the containers of failed Jobs ended that are not told of yet. What cannot be read is read again: it returns when, 0
// for not.
func (p *podsReader) readEnds(ctx context.Context, binding *v1alpha1.QueueBinding, failed []record, ends map[string]*v1alpha1.ContainerEnd) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, podsTimeout)
	defer cancel()
	var unread []string
	for i := range failed {
		name := failed[i].Name
		if _, told := ends[name]; told {
			continue
		}
		if len(unread) > 0 { // nor can others
			unread = append(unread, name)
			continue
		}
		end, err := p.readEnd(ctx, binding.Namespace, name)
		if err != nil {
			log.FromContext(ctx).V(1).Info("Could not read how a Job's Pods ended", "job", name, "cause", creator.WithoutValues(err).Error())
			unread = append(unread, name)
			continue
		}
		if end != nil {
			ends[name] = &v1alpha1.ContainerEnd{
				PodName: end.Pod, NodeName: end.Node, Name: end.Container, ExitCode: end.ExitCode, Reason: end.Reason,
				Message: events.TruncateTo(end.Message, maxTermination),
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(unread) == 0 {
		delete(p.unread, client.ObjectKeyFromObject(binding))
		return 0
	}
	p.unread[client.ObjectKeyFromObject(binding)] = unread
	return podsInterval
}

func (p *podsReader) readEnd(ctx context.Context, namespace, job string) (*pods.End, error) {
	if err := p.reads.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer p.reads.Release(1)
	return pods.EndOf(ctx, p.reader, namespace, job)
}

// starting tells whether the Pods of a binding's Jobs start, and when to ask again, 0 for when its Jobs change. oldest returns the Job
// that has been without a ready Pod for longest; it goes through all Jobs.
func (p *podsReader) starting(ctx context.Context, binding *v1alpha1.QueueBinding, pending int, oldest func() (record, bool)) (metav1.Condition, time.Duration) {
	key := client.ObjectKeyFromObject(binding)
	now := p.now()
	p.mu.Lock()
	if pending == 0 {
		delete(p.looks, key)
		p.mu.Unlock()
		return podsStart(), 0
	}
	look, looked := p.looks[key]
	p.mu.Unlock()
	if !looked || !now.Before(look.next) {
		look = p.look(ctx, binding, now, oldest)
		p.mu.Lock()
		p.looks[key] = look
		p.mu.Unlock()
	}
	return look.condition, look.next.Sub(now)
}

func (p *podsReader) look(ctx context.Context, binding *v1alpha1.QueueBinding, now time.Time, oldest func() (record, bool)) podsLook {
	first, found := oldest()
	if !found {
		return podsLook{condition: podsStart(), next: now.Add(podsInterval)}
	}
	if due := first.Created.Add(podsPatience); now.Before(due) {
		return podsLook{condition: podsStart(), next: due}
	}
	ctx, cancel := context.WithTimeout(ctx, podsTimeout)
	defer cancel()
	condition, err := p.whyWaiting(ctx, binding, &first)
	if err != nil {
		condition = metav1.Condition{
			Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonPodsUnknown,
			Message: events.Truncate(fmt.Sprintf("Jobs have no ready Pod, and why could not be read: %v", creator.WithoutValues(err))),
		}
	}
	condition.Type = v1alpha1.ConditionPodsStarting
	return podsLook{condition: condition, next: now.Add(podsInterval)}
}

func (p *podsReader) whyWaiting(ctx context.Context, binding *v1alpha1.QueueBinding, oldest *record) (metav1.Condition, error) {
	if err := p.reads.Acquire(ctx, 1); err != nil {
		return metav1.Condition{}, err
	}
	defer p.reads.Release(1)
	waiting, err := pods.WhyWaiting(ctx, p.reader, binding.Namespace, map[string]string{v1alpha1.LabelBinding: binding.Name})
	if err != nil {
		return metav1.Condition{}, err
	}
	if len(waiting.Causes) > 0 {
		return metav1.Condition{Status: metav1.ConditionFalse, Reason: waiting.Causes[0].Reason, Message: waitingMessage(waiting)}, nil
	}
	exist, err := pods.Exist(ctx, p.reader, binding.Namespace, oldest.Name)
	if err != nil || exist {
		return podsStart(), err
	}
	return metav1.Condition{
		Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNoPods,
		Message: fmt.Sprintf("Job %s has no Pod: a quota or a policy of the namespace may refuse it, `kubectl describe job %[1]s` has the events", oldest.Name),
	}, nil
}

// waitingMessage sums up why Pods do not start, with an example of each cause.
func waitingMessage(waiting pods.Waiting) string {
	var causes []string
	for _, cause := range waiting.Causes {
		atLeast := ""
		if waiting.More {
			atLeast = "at least "
		}
		causes = append(causes, fmt.Sprintf("%s%d Pods wait (%s), such as %s: %s", atLeast, cause.Pods, cause.Reason, cause.Pod, cause.Message))
	}
	return events.Truncate(strings.Join(causes, "; "))
}

func podsStart() metav1.Condition {
	return metav1.Condition{
		Type: v1alpha1.ConditionPodsStarting, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPodsStart, Message: "Pods start, as far as is known",
	}
}

// oldestPending returns the Job that has been without a ready Pod for longest.
func oldestPending(jobs *job.History) (oldest record, found bool) {
	for r := range jobs.All() {
		if r.Pending && (!found || r.Created.Before(oldest.Created)) {
			oldest, found = r, true
		}
	}
	return oldest, found
}
