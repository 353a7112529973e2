package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// await waits for something about a workspace's binding.
func (s *suite) await(ctx context.Context, w *workspace, what string, missing func() string) error {
	return rig.Await(ctx, what+" of "+w.namespace, missing)
}

// statusOf says what the status has instead of so many active Jobs, or nothing.
func (w *workspace) statusOf(ctx context.Context, active int) string {
	current := &v1alpha1.QueueBinding{}
	if err := w.suite.Client.Get(ctx, client.ObjectKeyFromObject(w.binding), current); err != nil {
		return err.Error()
	}
	if told := current.Status.ActiveJobs; told == nil || int(*told) != active {
		return fmt.Sprintf("the status does not tell of %d active Jobs", active)
	}
	return ""
}
