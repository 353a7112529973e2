package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// await waits for something about an arena's binding.
func (s *stage) await(ctx context.Context, a *arena, what string, missing func() string) error {
	return rig.Await(ctx, what+" of "+a.namespace, missing)
}

// statusOf says what the status has instead of so many active Jobs, or nothing.
func (a *arena) statusOf(ctx context.Context, active int) string {
	current := &v1alpha1.QueueBinding{}
	if err := a.stage.Client.Get(ctx, client.ObjectKeyFromObject(a.binding), current); err != nil {
		return err.Error()
	}
	if told := current.Status.ActiveJobs; told == nil || int(*told) != active {
		return fmt.Sprintf("the status does not tell of %d active Jobs", active)
	}
	return ""
}
