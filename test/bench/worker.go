package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apitypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/recorder"
)

// startFor is how long a container takes until its program can receive: an interpreter and its libraries, or a runtime.
const startFor = 500 * time.Millisecond

// workers play what the containers of a turn's Pods would do, as simulated Pods have none: a worker takes one message,
// works as long as that says, and ends, and with it its Pod. Each takes startFor to start. One that has to take its message from the queue deletes it after the
// work; the visibility timeout is many times the work, so that it need not extend it. One that finds no message
// ends at once.
type workers struct {
	turn *turn
	// queue is where workers receive; nil where the Pod bears its message.
	queue *bare

	playing sync.WaitGroup

	mu sync.Mutex
	// seen are the Pods that were played.
	seen map[apitypes.UID]bool
	// worked is how often each message was worked on, by its body, last when the last one was that had not been before.
	worked map[string]int
	last   time.Time
	failed error
}

// startWorkers has workers play until ctx ends.
func startWorkers(ctx context.Context, t *turn) (*workers, error) {
	w := &workers{turn: t, seen: map[apitypes.UID]bool{}, worked: map[string]int{}}
	if t.by.receives() {
		w.queue = &bare{url: &t.queue.URL}
		w.queue.at(t.suite.SQSEndpoint)
	}
	follower := &recorder.Follower{
		Client: t.suite.Client, Kind: &corev1.PodList{},
		Observe: func(_ watch.EventType, object client.Object) { w.observe(ctx, object) },
		Replace: func(objects []client.Object) {
			for _, object := range objects {
				w.observe(ctx, object)
			}
		},
	}
	if err := follower.List(ctx); err != nil {
		return nil, err
	}
	w.playing.Go(func() { follower.Follow(ctx) })
	return w, nil
}

func (w *workers) observe(ctx context.Context, object client.Object) {
	pod := object.(*corev1.Pod)
	if pod.Namespace != w.turn.namespace || pod.Status.Phase != corev1.PodRunning {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[pod.UID] {
		return
	}
	w.seen[pod.UID] = true
	w.playing.Go(func() {
		if err := w.play(ctx, pod); err != nil && ctx.Err() == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.failed = errors.Join(w.failed, fmt.Errorf("the worker in Pod %s: %w", pod.Name, err))
		}
	})
}

func (w *workers) play(ctx context.Context, pod *corev1.Pod) error {
	if err := pass(ctx, startFor); err != nil {
		return err
	}
	body, received := pod.Annotations[v1alpha1.AnnotationBody], []types.Message(nil)
	if w.queue != nil {
		var err error
		if received, err = w.queue.receive(ctx, 1, 0); err != nil {
			return err
		}
		if len(received) == 0 {
			return w.end(ctx, pod)
		}
		body = aws.ToString(received[0].Body)
	}
	var message struct{ Duration float64 }
	if err := json.Unmarshal([]byte(body), &message); err != nil {
		return fmt.Errorf("reading its message: %w", err)
	}
	if err := pass(ctx, time.Duration(message.Duration*float64(time.Second))); err != nil {
		return err
	}
	w.done(body)
	if len(received) > 0 {
		if err := w.queue.remove(ctx, received); err != nil {
			return err
		}
	}
	return w.end(ctx, pod)
}

func (w *workers) done(body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.worked[body]++
	if w.worked[body] == 1 {
		w.last = time.Now()
	}
}

// end has a Pod succeed, as a kubelet does when its containers have exited with 0.
func (w *workers) end(ctx context.Context, pod *corev1.Pod) error {
	ended := pod.DeepCopy()
	ended.Status.Phase = corev1.PodSucceeded
	for i := range ended.Status.ContainerStatuses {
		container := &ended.Status.ContainerStatuses[i]
		exit := &corev1.ContainerStateTerminated{Reason: "Completed", FinishedAt: metav1.Now()}
		if running := container.State.Running; running != nil {
			exit.StartedAt = running.StartedAt
		}
		container.Ready, container.Started, container.State = false, new(false), corev1.ContainerState{Terminated: exit}
	}
	if err := w.turn.suite.Client.Status().Patch(ctx, ended, client.MergeFrom(pod)); err != nil {
		return fmt.Errorf("ending the Pod: %w", err)
	}
	return nil
}

// count is how many messages were worked on.
func (w *workers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.worked)
}

func (w *workers) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// outcome is what became of n messages of which the first was sent when it began.
func (w *workers) outcome(n int, began time.Time) outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	came := outcome{seconds: w.last.Sub(began).Seconds(), lost: n - len(w.worked)}
	for _, times := range w.worked {
		if times > 1 {
			came.twice++
		}
	}
	return came
}
