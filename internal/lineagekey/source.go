// Package lineagekey keeps the key that lineages are signed with, in a Secret of the operator's own namespace. The leader makes
// it, once; nothing that needs it starts before it is there. It is read again from time to time, so that it can be replaced
// while operators run, and copied to operators elsewhere that receive from the same queues.
package lineagekey

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/timer"
)

// SecretName is the name of the Secret.
const SecretName = "queuebinding-lineage"

// Keys of the Secret. The current one signs; the previous one, which may be left out, is accepted too.
const (
	current  = "key"
	previous = "previous"
)

const (
	// keyBytes is the length of a key that is made, and the least of any.
	keyBytes = 32
	// readAgain is when the Secret is read again. It is not watched: that would take the right to list Secrets.
	readAgain = 30 * time.Second
)

// Source knows the keys. It is a Runnable of the manager that needs leader election.
type Source struct {
	client    client.Client
	reader    client.Reader
	namespace string
	clock     clock.Clock
	log       logr.Logger

	keys  atomic.Pointer[job.Keys]
	known chan struct{} // closed once there are keys
}

// New makes a Source of the keys in a namespace. The client creates the Secret; the reader, which must not be a cache, reads it.
func New(client client.Client, reader client.Reader, namespace string, clock clock.Clock, log logr.Logger) *Source {
	return &Source{
		client: client, reader: reader, namespace: namespace, clock: clock, known: make(chan struct{}),
		log: log.WithValues("namespace", namespace, "secret", SecretName),
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*Source) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable: it reads the Secret, and makes it where there is none, over and over until the context ends.
func (s *Source) Start(ctx context.Context) error {
	retries := timer.Backoff()
	for ctx.Err() == nil {
		wait := readAgain
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			if s.keys.Load() == nil {
				s.log.Error(err, "Nothing is received or requeued before there is a key to sign lineages with")
				wait = retries.Step()
			} else {
				s.log.Error(err, "Went on with the keys that were read before")
			}
		}
		timer.Sleep(ctx, s.clock, wait)
	}
	return nil
}

// Keys returns the keys as they were read last, none before the first time.
func (s *Source) Keys() job.Keys {
	if keys := s.keys.Load(); keys != nil {
		return *keys
	}
	return job.Keys{}
}

// refresh takes over the keys of the Secret. A Secret that is gone is made anew, with the key that was known as the previous
// one: to delete it is to replace the key.
func (s *Source) refresh(ctx context.Context) error {
	secret, err := s.read(ctx)
	if apierrors.IsNotFound(err) {
		secret, err = s.create(ctx)
	}
	if apierrors.IsAlreadyExists(err) { // another operator was faster
		secret, err = s.read(ctx)
	}
	if err != nil {
		return err
	}
	keys := job.Keys{Current: secret.Data[current], Previous: secret.Data[previous]}
	for name, key := range map[string][]byte{current: keys.Current, previous: keys.Previous} {
		if len(key) < keyBytes && (name == current || len(key) > 0) {
			return fmt.Errorf("%s has %d bytes, and needs %d", name, len(key), keyBytes)
		}
	}
	s.take(keys)
	return nil
}

func (s *Source) take(keys job.Keys) {
	before := s.keys.Swap(&keys)
	switch {
	case before == nil:
		close(s.known)
	case !bytes.Equal(before.Current, keys.Current) || !bytes.Equal(before.Previous, keys.Previous):
		s.log.Info("Took over other keys for lineages")
	}
}

func (s *Source) read(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	if err := s.reader.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: SecretName}, secret); err != nil {
		return nil, fmt.Errorf("read the Secret: %w", err)
	}
	return secret, nil
}

func (s *Source) create(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{Data: map[string][]byte{current: make([]byte, keyBytes)}}
	secret.Namespace, secret.Name = s.namespace, SecretName
	if _, err := rand.Read(secret.Data[current]); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if known := s.Keys().Current; len(known) > 0 {
		secret.Data[previous] = known
	}
	if err := s.client.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("create the Secret: %w", err)
	}
	s.log.Info("Made a key to sign lineages with")
	return secret, nil
}

// Gate returns the manager in a form that starts what is added to it, on the leader, only once there are keys.
func (s *Source) Gate(mgr manager.Manager) manager.Manager { return gated{mgr, s.known} }

type gated struct {
	manager.Manager
	known <-chan struct{}
}

func (g gated) Add(runnable manager.Runnable) error {
	return g.Manager.Add(manager.RunnableFunc(func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-g.known:
			return runnable.Start(ctx)
		}
	}))
}
