package lineagekey

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/queuebinding/queuebinding/internal/job"
)

// run runs a test in a time of its own, with an API server and the sources of as many operators.
func run(t *testing.T, operators int, faults interceptor.Funcs, objects []client.Object, test func(*testing.T, client.WithWatch, []*Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		scheme := runtime.NewScheme()
		if err := corev1.AddToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		whole := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
		c := interceptor.NewClient(whole, faults)
		ctx, stop := context.WithCancel(t.Context())
		var sources []*Source
		var running sync.WaitGroup
		for range operators {
			k := New(c, c, "system", clock.RealClock{}, logr.Discard())
			sources = append(sources, k)
			running.Go(func() {
				if err := k.Start(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		test(t, whole, sources)
		stop()
		running.Wait()
	})
}

func aSecret(key, before []byte) *corev1.Secret {
	secret := &corev1.Secret{Data: map[string][]byte{"key": key}}
	secret.Namespace, secret.Name = "system", "queuebinding-lineage"
	if before != nil {
		secret.Data["previous"] = before
	}
	return secret
}

// keyOf is a key of its own for each letter.
func keyOf(letter string) []byte { return bytes.Repeat([]byte(letter), 32) }

func equal(a, b job.Keys) bool {
	return bytes.Equal(a.Current, b.Current) && bytes.Equal(a.Previous, b.Previous)
}

// Operators that start at the same time agree on one key, which stays.
func TestTheKeyIsMadeOnce(t *testing.T) {
	run(t, 5, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			err := c.Get(ctx, key, object, options...)
			time.Sleep(time.Second) // all have found none before one is made
			return err
		},
	}, nil, func(t *testing.T, _ client.WithWatch, sources []*Source) {
		time.Sleep(10 * time.Second)
		first := sources[0].Keys()
		if len(first.Current) != 32 || len(first.Previous) != 0 || bytes.Equal(first.Current, make([]byte, 32)) {
			t.Fatalf("keys of %d and %d bytes", len(first.Current), len(first.Previous))
		}
		for _, k := range sources {
			if !equal(k.Keys(), first) {
				t.Error("two operators have different keys")
			}
		}
		time.Sleep(time.Hour)
		if !equal(sources[0].Keys(), first) {
			t.Error("the key changed by itself")
		}
	})
}

// A key that is replaced is taken over within half a minute, and a Secret that cannot be used changes nothing.
func TestAReplacedKeyIsTakenOver(t *testing.T) {
	run(t, 1, interceptor.Funcs{}, []client.Object{aSecret(keyOf("a"), nil)}, func(t *testing.T, c client.WithWatch, sources []*Source) {
		want := job.Keys{Current: keyOf("a")}
		for _, step := range []struct {
			name string
			to   *corev1.Secret
			want job.Keys
		}{
			{"the next one announced", aSecret(keyOf("a"), keyOf("b")), job.Keys{Current: keyOf("a"), Previous: keyOf("b")}},
			{"replaced", aSecret(keyOf("b"), keyOf("a")), job.Keys{Current: keyOf("b"), Previous: keyOf("a")}},
			{"none", aSecret(nil, keyOf("a")), job.Keys{Current: keyOf("b"), Previous: keyOf("a")}},
			{"one that is too short", aSecret([]byte("secret"), nil), job.Keys{Current: keyOf("b"), Previous: keyOf("a")}},
			{"a previous one that is too short", aSecret(keyOf("c"), []byte("b")), job.Keys{Current: keyOf("b"), Previous: keyOf("a")}},
			{"without a previous one", aSecret(keyOf("c"), []byte{}), job.Keys{Current: keyOf("c")}},
		} {
			if got := sources[0].Keys(); !equal(got, want) {
				t.Errorf("before %s the keys are %s", step.name, got)
			}
			if err := c.Update(t.Context(), step.to); err != nil {
				t.Fatal(err)
			}
			time.Sleep(31 * time.Second)
			if want = step.want; !equal(sources[0].Keys(), want) {
				t.Errorf("with %s the keys are %s", step.name, sources[0].Keys())
			}
		}
	})
}

// To delete the Secret is to replace the key: what was signed before is still accepted.
func TestADeletedSecretIsMadeAnew(t *testing.T) {
	run(t, 2, interceptor.Funcs{}, []client.Object{aSecret(keyOf("a"), nil)}, func(t *testing.T, c client.WithWatch, sources []*Source) {
		if err := c.Delete(t.Context(), aSecret(nil, nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		time.Sleep(31 * time.Second)
		got := sources[0].Keys()
		if bytes.Equal(got.Current, keyOf("a")) || !bytes.Equal(got.Previous, keyOf("a")) || !equal(got, sources[1].Keys()) {
			t.Errorf("the keys are %s and %s", got, sources[1].Keys())
		}
	})
}

// fakeManager starts what it leads as soon as that is added.
type fakeManager struct {
	manager.Manager
	t *testing.T
}

func (m fakeManager) Add(runnable manager.Runnable) error {
	go func() {
		if err := runnable.Start(m.t.Context()); err != nil {
			m.t.Error(err)
		}
	}()
	return nil
}

// Whatever keeps the key from being read or made, nothing starts without it, and all does once it is there.
func TestNothingStartsWithoutAKey(t *testing.T) {
	forbidden := errors.New("forbidden")
	for name, unusable := range map[string]struct {
		faults  func(broken *bool) interceptor.Funcs
		objects []client.Object
	}{
		"the Secret cannot be read": {faults: func(broken *bool) interceptor.Funcs {
			return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
				if *broken {
					return forbidden
				}
				return c.Get(ctx, key, object, options...)
			}}
		}},
		"the Secret cannot be created": {faults: func(broken *bool) interceptor.Funcs {
			return interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
				if *broken {
					return forbidden
				}
				return c.Create(ctx, object, options...)
			}}
		}},
		"the Secret has no key": {objects: []client.Object{aSecret(nil, nil)}, faults: func(*bool) interceptor.Funcs { return interceptor.Funcs{} }},
	} {
		t.Run(name, func(t *testing.T) {
			broken := true
			run(t, 1, unusable.faults(&broken), unusable.objects, func(t *testing.T, c client.WithWatch, sources []*Source) {
				started := false
				err := sources[0].Gate(fakeManager{t: t}).Add(manager.RunnableFunc(func(context.Context) error {
					started = true
					return nil
				}))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				if started || len(sources[0].Keys().Current) > 0 {
					t.Fatal("it started without a key")
				}
				broken = false
				if len(unusable.objects) > 0 {
					if err := c.Update(t.Context(), aSecret(keyOf("a"), nil)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Minute)
				if !started || len(sources[0].Keys().Current) != 32 {
					t.Error("it did not start")
				}
			})
		})
	}
}
