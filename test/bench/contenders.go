package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// ours is this repository's operator, as it is shipped.
type ours struct{}

func (ours) name() string            { return "QueueBinding" }
func (ours) interval() time.Duration { return 0 }
func (ours) receives() bool          { return false }

func (ours) start(ctx context.Context, t *turn) error {
	name := "operator-" + t.namespace
	started, err := t.suite.startOperator(ctx, name, t.suite.DirectEndpoints(name))
	if err != nil {
		return err
	}
	t.operator = started.Process
	return nil
}

func (ours) kill(t *turn) error {
	t.operator.Kill()
	return nil
}

func (o ours) leave(_ context.Context, t *turn) error { return o.kill(t) }

func (ours) install(ctx context.Context, t *turn) (types.UID, error) {
	binding := benchBinding(t.namespace, peerObject, t.queue.URL)
	binding.Spec.Concurrency.MaxActiveJobs = new(int32(t.limit))
	binding.Spec.JobTemplate.Spec = t.jobSpec()
	binding.Spec.SuccessfulJobsHistoryLimit = new(int32(plenty))
	if t.played {
		// As a worker that deletes its message after the work.
		binding.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
	}
	if err := t.suite.Client.Create(ctx, binding); err != nil {
		return "", fmt.Errorf("creating a binding: %w", err)
	}
	return binding.UID, t.suite.polling(ctx, binding)
}

// keda is KEDA's operator with a ScaledJob. Where a setting is 0 or empty, KEDA's default holds.
type keda struct {
	called string
	// poll is the ScaledJob's pollingInterval, whole seconds.
	poll time.Duration
	// strategy is its scalingStrategy. With visibleOnly it does not count messages that are in flight.
	strategy    string
	visibleOnly bool
	// flags are more of the operator's.
	flags string
}

var (
	// kedaAccurate counts the visible messages and the Jobs whose Pods do not run yet. It is the fastest where a limit holds,
	// and starts a Job too many for each worker that runs and has not received.
	kedaAccurate = keda{called: "KEDA, pollingInterval 1, accurate", poll: time.Second, strategy: "accurate", visibleOnly: true}
	// kedaPrompt counts all messages and all Jobs. It starts none too many, and too few while Jobs end whose messages are gone.
	kedaPrompt   = keda{called: "KEDA, pollingInterval 1", poll: time.Second}
	kedaDefaults = keda{called: "KEDA at its defaults", flags: "--kube-api-qps=20 --kube-api-burst=30"}
)

// kedaPoll is KEDA's default for pollingInterval.
const kedaPoll = 30 * time.Second

func (k keda) name() string   { return k.called }
func (k keda) receives() bool { return true }

func (k keda) interval() time.Duration {
	if k.poll == 0 {
		return kedaPoll
	}
	return k.poll
}

func (k keda) start(_ context.Context, t *turn) error {
	return t.suite.StartPart(testenv.KEDA, strings.Fields(k.flags)...)
}

func (keda) kill(t *turn) error { return t.suite.StopPart(testenv.KEDA) }

// leave has the operator let its ScaledJob go, or it would work on it in its next turn.
func (k keda) leave(ctx context.Context, t *turn) error {
	made := newScaledJob(t.namespace)
	if err := t.suite.Client.Delete(ctx, made); err != nil {
		return fmt.Errorf("deleting a ScaledJob: %w", err)
	}
	err := rig.Await(ctx, "the end of a ScaledJob", func() string {
		err := t.suite.Client.Get(ctx, client.ObjectKeyFromObject(made), made)
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprintf("asking for it gave %v", err)
	})
	if err != nil {
		return err
	}
	return k.kill(t)
}

func (k keda) install(ctx context.Context, t *turn) (types.UID, error) {
	made, err := k.scaledJob(t)
	if err != nil {
		return "", err
	}
	if err := t.suite.Client.Create(ctx, made); err != nil {
		return "", fmt.Errorf("creating a ScaledJob: %w", err)
	}
	return made.GetUID(), rig.Await(ctx, "a ready ScaledJob", func() string {
		if err := t.suite.Client.Get(ctx, client.ObjectKeyFromObject(made), made); err != nil {
			return err.Error()
		}
		conditions, _, _ := unstructured.NestedSlice(made.Object, "status", "conditions") // none is not ready
		for _, condition := range conditions {
			if told, ok := condition.(map[string]any); ok && told["type"] == "Ready" && told["status"] == string(metav1.ConditionTrue) {
				return ""
			}
		}
		return fmt.Sprintf("its conditions are %v", conditions)
	})
}

func (k keda) scaledJob(t *turn) (*unstructured.Unstructured, error) {
	jobSpec := t.jobSpec()
	target, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&jobSpec)
	if err != nil {
		return nil, fmt.Errorf("writing a ScaledJob: %w", err)
	}
	trigger := map[string]any{
		"queueURL": t.queue.URL, "awsRegion": "eu-west-1", "awsEndpoint": t.suite.SQSEndpoint, "identityOwner": "operator",
		// A worker works off one message. KEDA's default is one Job for five.
		"queueLength":     "1",
		"scaleOnInFlight": fmt.Sprint(!k.visibleOnly),
	}
	spec := map[string]any{
		"jobTargetRef": target, "maxReplicaCount": int64(t.limit),
		"successfulJobsHistoryLimit": int64(plenty), "failedJobsHistoryLimit": int64(plenty),
		"triggers": []any{map[string]any{"type": "aws-sqs-queue", "metadata": trigger}},
	}
	if k.poll > 0 {
		spec["pollingInterval"] = int64(k.poll / time.Second)
	}
	if k.strategy != "" {
		spec["scalingStrategy"] = map[string]any{"strategy": k.strategy}
	}
	made := newScaledJob(t.namespace)
	made.Object["spec"] = spec
	return made, nil
}

func newScaledJob(namespace string) *unstructured.Unstructured {
	made := &unstructured.Unstructured{}
	made.SetGroupVersionKind(schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledJob"})
	made.SetNamespace(namespace)
	made.SetName(peerObject)
	return made
}
