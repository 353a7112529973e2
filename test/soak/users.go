package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// What users do goes to the API server itself, and again until it is there.

func (s *soak) any(random *rand.Rand) *binding { return s.bindings[random.IntN(len(s.bindings))] }

// edit changes a binding, again where somebody else does too.
func (s *soak) edit(ctx context.Context, b *binding, change func(*v1alpha1.QueueBinding)) error {
	return rig.Await(ctx, "a change of "+b.Name, func() string {
		now := &v1alpha1.QueueBinding{}
		if err := s.cluster.Client.Get(ctx, client.ObjectKeyFromObject(b), now); err != nil {
			return err.Error()
		}
		before := now.DeepCopy()
		change(now)
		s.limits.ask(b.UID, now.Spec.Concurrency.MaxActiveJobs)
		return rig.Problem(s.cluster.Client.Patch(ctx, now, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
	})
}

func (s *soak) try(ctx context.Context, b *binding, change func(*v1alpha1.QueueBinding)) {
	if err := s.edit(ctx, b, change); err != nil && ctx.Err() == nil {
		s.say("A user gave up: %v", err)
	}
}

func (s *soak) suspend(ctx context.Context, random *rand.Rand) {
	b := s.any(random)
	s.try(ctx, b, func(now *v1alpha1.QueueBinding) { now.Spec.Suspend = true })
	pause(ctx, time.Duration(2000+random.IntN(5000))*time.Millisecond)
	s.try(ctx, b, func(now *v1alpha1.QueueBinding) { now.Spec.Suspend = false })
}

func (s *soak) changeLimit(ctx context.Context, random *rand.Rand) {
	limit := int32(random.IntN(16))
	s.try(ctx, s.any(random), func(now *v1alpha1.QueueBinding) { now.Spec.Concurrency.MaxActiveJobs = &limit })
}

// credentials are the Secrets with keys to use the queues by. The emulator takes any.
var credentials = []string{"aws-first", "aws-second"}

func (s *soak) createCredentials(ctx context.Context) error {
	for _, name := range credentials {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: keysNamed(name)}
		if err := s.cluster.Client.Create(ctx, secret); err != nil {
			return fmt.Errorf("creating credentials: %w", err)
		}
	}
	return nil
}

func keysNamed(name string) map[string]string {
	return map[string]string{"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "secret"}
}

// changeCredentials has a binding use the queue by other keys, of another Secret or the operator's own, or by those that replace
// the ones in a Secret.
func (s *soak) changeCredentials(ctx context.Context, random *rand.Rand) {
	name := credentials[random.IntN(len(credentials))]
	switch random.IntN(4) {
	case 0:
		s.count("credentials rotated")
		err := rig.Await(ctx, "a rotation", func() string {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
			rotated := secret.DeepCopy()
			rotated.StringData = keysNamed(fmt.Sprintf("%s-%d", name, random.IntN(1000)))
			return rig.Problem(s.cluster.Client.Patch(ctx, rotated, client.MergeFrom(secret)))
		})
		if err != nil && ctx.Err() == nil {
			s.say("A user gave up: %v", err)
		}
	case 1:
		s.count("credentials taken away")
		s.try(ctx, s.any(random), func(now *v1alpha1.QueueBinding) { now.Spec.Queue.Credentials = nil })
	default:
		s.count("credentials switched")
		s.try(ctx, s.any(random), func(now *v1alpha1.QueueBinding) {
			now.Spec.Queue.Credentials = &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: name}}
		})
	}
}

func (s *soak) requeueAll(ctx context.Context, random *rand.Rand) {
	s.requeue(ctx, s.any(random), "all")
}

// requeueSome asks for up to ten failed Jobs by name.
func (s *soak) requeueSome(ctx context.Context, random *rand.Rand) {
	b := s.any(random)
	var words []string
	for _, job := range s.recorder.Jobs(namespace) {
		if job.Owner == b.UID && job.Failed && !job.Gone && len(words) < 10 && random.IntN(2) == 0 {
			words = append(words, job.Name)
		}
	}
	s.requeue(ctx, b, words...)
}

// requeue adds words to what is asked for already.
func (s *soak) requeue(ctx context.Context, b *binding, words ...string) {
	if len(words) == 0 {
		return
	}
	s.try(ctx, b, func(now *v1alpha1.QueueBinding) {
		if text := now.Annotations[v1alpha1.AnnotationRequeue]; text != "" {
			words = append(words, text)
		}
		metav1.SetMetaDataAnnotation(&now.ObjectMeta, v1alpha1.AnnotationRequeue, strings.Join(words, ","))
	})
}

// killPods ends up to three running Pods of a binding whose messages stay on the queue: their Jobs fail.
func (s *soak) killPods(ctx context.Context, random *rand.Rand) {
	b := s.bindings[1+2*random.IntN(len(s.bindings)/2)]
	killed := 0
	jobs := s.recorder.Jobs(namespace)
	slices.Reverse(jobs)
	for _, job := range jobs {
		if job.Owner != b.UID || job.Finished || job.Gone || job.Deleting || random.IntN(3) == 0 {
			continue
		}
		if err := s.cluster.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
			return
		}
		s.count("Jobs whose Pod died")
		if killed++; killed == 3 {
			return
		}
	}
}

// settledAge is how long after its creation the message of a requeued Job may be sent once more, where the operator was
// not told that it was sent.
const settledAge = 15 * time.Second

// deleteJobs deletes up to five Jobs of a binding, either running or finished ones. It spares those whose message may still be
// delivered: such a message would rightly become a Job again.
func (s *soak) deleteJobs(ctx context.Context, random *rand.Rand) {
	b := s.any(random)
	if s.overlap.within(time.Now()) {
		return // what a deposed leader has in its hands cannot be known
	}
	now := &v1alpha1.QueueBinding{}
	if err := s.cluster.Client.Get(ctx, client.ObjectKeyFromObject(b), now); err != nil || now.Annotations[v1alpha1.AnnotationRequeue] != "" {
		return
	}
	held, err := b.queue.Contents(ctx)
	if err != nil {
		return
	}
	onQueue := map[string]bool{}
	for _, message := range held {
		root, _, _ := strings.Cut(message.Lineage, "/")
		onQueue[message.ID], onQueue[root] = true, true
	}
	deleted, finished := 0, random.IntN(2) == 0
	jobs := s.recorder.Jobs(namespace)
	slices.Reverse(jobs) // the newest may still run
	for _, job := range jobs {
		young := job.Attempt > 1 && time.Since(job.Added) < settledAge
		if job.Owner != b.UID || job.Finished != finished || job.Gone || job.Deleting || job.Requeued || young || random.IntN(3) == 0 {
			continue
		}
		// One that keeps its message may be deleted while it runs; its attempt is made again then.
		if onQueue[job.Root] && (!b.keeps || finished) {
			continue
		}
		s.mu.Lock()
		s.removed[job.UID] = true
		s.mu.Unlock()
		target := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: job.Name}}
		err := s.cluster.Client.Delete(ctx, target, client.Preconditions{UID: &job.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if err != nil && !apierrors.IsNotFound(err) {
			return
		}
		s.count(fmt.Sprintf("Jobs deleted by users, finished: %t", job.Finished))
		if deleted++; deleted == 5 {
			return
		}
	}
}
