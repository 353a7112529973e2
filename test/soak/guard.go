package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/webhook"
)

// guard is a webhook that the API server asks about each Job.
type guard struct {
	server *webhook.Server
	ended  atomic.Bool
	// failure is how it fails, and unlucky for which share of the Jobs, by their names: one in so many.
	failure atomic.Int32
	unlucky atomic.Uint32
}

func (g *guard) begin(ctx context.Context, cluster *rig.Cluster) error {
	server, err := webhook.Start(g.review)
	if err != nil {
		return err
	}
	g.server = server
	rule := webhook.Rule{Namespace: namespace, Group: batchv1.GroupName, Resources: []string{"jobs"}, TimeoutSeconds: 2}
	if err := cluster.Client.Create(ctx, server.Validating("soak", rule)); err != nil {
		return errors.Join(fmt.Errorf("registering a webhook: %w", err), server.Close())
	}
	return nil
}

func (g *guard) review(request *admissionv1.AdmissionRequest) webhook.Answer {
	h := fnv.New32a()
	_, _ = h.Write([]byte(request.Name)) // it never fails
	if share := g.unlucky.Load(); !g.ended.Load() && share > 0 && h.Sum32()%share == 0 {
		return webhook.Answer{Failure: webhook.Failure(g.failure.Load())}
	}
	return webhook.Answer{}
}

// end has the webhook be up and allow all from now on.
func (g *guard) end() {
	g.ended.Store(true)
	g.up()
}

func (g *guard) up() {
	if err := g.server.Up(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
}

// flap closes the webhook's port and opens it again, a few times.
func (s *soak) flap(ctx context.Context, random *rand.Rand) {
	for range 3 {
		if err := s.guard.server.Down(); err != nil {
			fmt.Fprintln(os.Stderr, "soak:", err)
		}
		pause(ctx, time.Duration(500+random.IntN(1500))*time.Millisecond)
		s.guard.up()
		pause(ctx, time.Duration(random.IntN(1500))*time.Millisecond)
	}
}

// failAtSome has the webhook fail for some Jobs, and each time for the same ones.
func (s *soak) failAtSome(how webhook.Failure, share uint32) func(context.Context, *rand.Rand) {
	return func(ctx context.Context, random *rand.Rand) {
		s.guard.failure.Store(int32(how))
		s.guard.unlucky.Store(share)
		pause(ctx, time.Duration(4000+random.IntN(4000))*time.Millisecond)
		s.guard.unlucky.Store(0)
	}
}
