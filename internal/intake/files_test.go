package intake

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
	"github.com/queuebinding/queuebinding/internal/timer"
)

// inFiles has one message at a time, in files.
func inFiles(b *v1alpha1.QueueBinding) {
	b.Spec.Message.Delivery = v1alpha1.DeliverFile
	b.Spec.Concurrency.MaxActiveJobs = new(int32(1))
}

// secret is that of the first attempt at message a, or nil.
func (b *bench) secret() *corev1.Secret {
	b.t.Helper()
	existing := &corev1.Secret{}
	err := b.client.Get(b.t.Context(), client.ObjectKey{Namespace: "batch", Name: b.attempt("a", 1)}, existing)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return existing
}

// whole fails the test unless message a is in a Secret of its Job.
func (b *bench) whole() {
	b.t.Helper()
	secret := b.secret()
	if secret == nil || !metav1.IsControlledBy(secret, b.job(secret.Name)) || string(secret.Data["body"]) != "a" {
		b.t.Errorf("the Secret is %v, want one of the Job's with the body", secret)
	}
}

// crash ends the loop as a kill does: nothing is given back.
func (b *bench) crash() {
	b.queue.SetFault(queue.Errorf(queue.Unreachable, "no answer"))
	b.end()
	b.queue.SetFault(nil)
	b.setFault(nil)
}

// refusing has each creation of one kind of object refused.
func refusing[Kind client.Object](err error) func(func() error, client.Object) error {
	return func(create func() error, object client.Object) error {
		if _, ok := object.(Kind); ok {
			return err
		}
		return create()
	}
}

// Wherever the operator ends on the way, the message comes back and has one whole Job, although that takes the only slot.
func TestAJobInFilesNeverWaitsForItsMessage(t *testing.T) {
	for name, until := range map[string]func(create func() error, object client.Object) error{
		"before the Secret":      refusing[*corev1.Secret](errQuota),
		"between Secret and Job": refusing[*batchv1.Job](errQuota),
		"before it heard of the Secret": func(create func() error, _ client.Object) error {
			if err := create(); err != nil {
				return err
			}
			return apierrors.NewTimeoutError("no answer", 1)
		},
	} {
		for rule, change := range map[string]func(*v1alpha1.QueueBinding){"OnJobCreated": func(*v1alpha1.QueueBinding) {}, "OnJobSucceeded": onJobSucceeded} {
			t.Run(name+", "+rule, func(t *testing.T) {
				run(t, func(b *v1alpha1.QueueBinding) { inFiles(b); change(b) }, func(b *bench) {
					b.setFault(func(create func() error, object client.Object) error {
						if made, ok := object.(*batchv1.Job); ok && b.secret() == nil {
							b.t.Errorf("Job %s is created before its Secret", made.Name)
						}
						return until(create, object)
					})
					b.queue.Put("a")
					time.Sleep(time.Second)
					b.crash()
					b.start(b.queue)
					time.Sleep(2 * time.Minute)
					if secret := b.secret(); secret == nil || string(secret.Data["body"]) != "a" {
						t.Fatalf("the Job would wait for its Secret, which is %v", secret)
					}
					b.conclude(b.attempt("a", 1), batchv1.JobComplete)
					time.Sleep(2 * time.Minute)
					b.whole()
					left, _ := b.queue.Left()
					if names, most := b.jobs(); left != 0 || len(names) != 1 || most != 1 {
						t.Errorf("%d messages left, %d Jobs, made up to %d times; want 0, 1, 1", left, len(names), most)
					}
				})
			})
		}
	}
}

// The operator ended between a Job and what makes the Secret the Job's, or somebody deleted that.
func TestAMessageThatComesBackBringsItsJobTheSecret(t *testing.T) {
	for name, change := range map[string]func(*bench, *corev1.Secret) error{
		"not the Job's yet": func(b *bench, secret *corev1.Secret) error {
			secret.OwnerReferences = b.job(secret.Name).OwnerReferences
			return b.client.Update(b.t.Context(), secret)
		},
		"deleted": func(b *bench, secret *corev1.Secret) error { return b.client.Delete(b.t.Context(), secret) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, inFiles, func(b *bench) {
				b.queue.Put("a")
				time.Sleep(time.Second)
				if err := change(b, b.secret()); err != nil {
					t.Fatal(err)
				}
				b.crash()
				b.queue.Change(func(m []*fake.Message) { m[0].Deleted, m[0].VisibleAt = false, time.Now() })
				b.conclude(b.attempt("a", 1), batchv1.JobFailed) // or its slot would be taken
				b.start(b.queue)
				time.Sleep(time.Minute)
				b.whole()
				b.want(0, 2, 1)
			})
		})
	}
}

// What an earlier operator left is seen to at the start, though nothing is received.
func TestSecretsAreClaimedWithoutTheirMessages(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		secret := b.secret()
		secret.OwnerReferences = b.job(secret.Name).OwnerReferences
		if err := b.client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		b.crash()
		b.binding.Spec.Suspend = true
		b.start(b.queue)
		time.Sleep(time.Second)
		b.whole()
	})
}

// Its message comes back to a running Job that lacks its Secret, as nothing else tells what was in that.
func TestAMessageIsGivenBackToAJobWithoutItsSecret(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) {
		onJobSucceeded(b)
		b.Spec.Message.Delivery = v1alpha1.DeliverFile
	}, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		b.crash()
		if err := b.client.Delete(t.Context(), b.secret()); err != nil {
			t.Fatal(err)
		}
		b.start(b.queue)
		time.Sleep(2 * time.Minute)
		b.whole()
		b.stayHidden(time.Hour)
		b.want(1, 2, 1)
	})
}

// The API server asks for quota before it looks whether there is a Secret already.
func TestAStoredSecretNeedsNoQuota(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		b.setFault(refusing[*batchv1.Job](errQuota))
		b.queue.Put("a")
		time.Sleep(time.Second)
		b.crash()
		b.setFault(refusing[*corev1.Secret](errQuota))
		b.start(b.queue)
		time.Sleep(2 * time.Minute)
		b.whole()
		b.want(0, 2, 1)
	})
}

// A message whose body and attributes need a Secret each, of which the second comes late.
func TestAMessageInTwoSecretsIsStoredWhole(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		first, names := true, []string{}
		b.setFault(func(create func() error, object client.Object) error {
			if strings.HasSuffix(object.GetName(), "-attributes") && first {
				first = false
				return errQuota
			}
			names = append(names, fmt.Sprintf("%T", object))
			return create()
		})
		b.queue.PutMessages(queue.Message{ID: "message-a", Body: strings.Repeat("x", corev1.MaxSecretSize-1)})
		time.Sleep(time.Minute)
		b.want(0, 1, 1)
		if want := []string{"*v1.Secret", "*v1.Secret", "*v1.Job"}; !slices.Equal(names, want) {
			t.Errorf("created %v, want %v", names, want)
		}
		owner, secrets := b.job(b.attempt("a", 1)), &corev1.SecretList{}
		if err := b.client.List(t.Context(), secrets); err != nil {
			t.Fatal(err)
		}
		for i := range secrets.Items {
			if !metav1.IsControlledBy(&secrets.Items[i], owner) {
				t.Errorf("Secret %s is not the Job's", secrets.Items[i].Name)
			}
		}
	})
}

// Somebody changes or deletes the Secret between the Job and what makes it the Job's.
func TestASecretIsMadeItsJobsWhateverHappensToIt(t *testing.T) {
	for name, change := range map[string]func(*bench, *corev1.Secret) error{
		"changed": func(b *bench, secret *corev1.Secret) error {
			secret.Labels["mine"] = "too"
			return b.client.Update(b.t.Context(), secret)
		},
		"deleted": func(b *bench, secret *corev1.Secret) error { return b.client.Delete(b.t.Context(), secret) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, inFiles, func(b *bench) {
				b.setFault(func(create func() error, object client.Object) error {
					err := create()
					if _, ok := object.(*batchv1.Job); ok {
						err = errors.Join(err, change(b, b.secret()))
					}
					return err
				})
				b.queue.Put("a")
				// Longer than the queue's poll takes to find the message, and less than a backoff.
				time.Sleep(timer.FirstRetry - time.Millisecond)
				b.whole()
				time.Sleep(time.Second)
				b.want(0, 1, 1)
			})
		})
	}
}

// A Job whose creation got through is found, though a webhook that comes and goes refuses the next attempt.
func TestARefusedJobThatExistsKeepsItsSecret(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		b.blind = true
		attempts := 0
		b.setFault(func(create func() error, object client.Object) error {
			if _, ok := object.(*batchv1.Job); !ok {
				return create()
			}
			if attempts++; attempts > 1 {
				return errInvalid
			}
			return errors.Join(create(), apierrors.NewTimeoutError("no answer", 1))
		})
		b.queue.Put("a")
		time.Sleep(10 * time.Second)
		b.whole()
		b.want(0, 1, 1)
	})
}

// A message that is refused may never come back.
func TestTheSecretOfARejectedMessageGoes(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		b.setFault(refusing[*batchv1.Job](errInvalid))
		b.queue.Put("a")
		time.Sleep(time.Second)
		if b.secret() != nil {
			t.Error("the Secret is still there")
		}
		b.setFault(nil)
		time.Sleep(time.Minute)
		b.whole()
	})
}

// The Job came and went before it was known that it was created, and its Secret was never its own.
func TestTheSecretOfAJobThatIsGoneGoes(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		b.setFault(func(create func() error, object client.Object) error {
			err := create()
			if _, ok := object.(*batchv1.Job); ok && err == nil {
				b.finish(object.GetName())
				return apierrors.NewTimeoutError("no answer", 1)
			}
			return err
		})
		b.queue.Put("a")
		time.Sleep(10 * time.Second)
		b.want(0, 1, 1)
		if b.secret() != nil {
			t.Error("the Secret is still there")
		}
	})
}

// What another operator has made a Job's meanwhile is not deleted.
func TestASecretThatIsAJobsOutlivesARejection(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		b.setFault(func(create func() error, object client.Object) error {
			made, ok := object.(*batchv1.Job)
			if !ok {
				return create()
			}
			theirs, secret := made.DeepCopy(), b.secret()
			theirs.UID = "theirs"
			job.OwnSecret(theirs, secret)
			if err := b.client.Update(t.Context(), secret); err != nil {
				t.Error(err)
			}
			return errInvalid
		})
		b.queue.Put("a")
		time.Sleep(time.Second)
		if b.secret() == nil {
			t.Error("the other's Secret was deleted")
		}
	})
}

// A Job of a name was deleted, and its Secret is not collected yet.
func TestNoJobIsCreatedBesideTheSecretOfADeletedOne(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) { inFiles(b); onJobSucceeded(b) }, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		name := b.attempt("a", 1)
		b.finish(name)
		time.Sleep(10 * time.Minute)
		if _, most := b.jobs(); most != 1 {
			t.Errorf("the Job was made %d times beside the Secret of the first", most)
		}
		if err := b.client.Delete(t.Context(), b.secret()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(16 * time.Minute) // it goes back with a growing delay meanwhile, so that other messages pass
		b.whole()
	})
}

// A Secret that somebody deletes while it waits for its Job, and that a finalizer keeps, is not taken for one that stays.
func TestNoJobIsCreatedForASecretThatIsBeingDeleted(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		b.setFault(refusing[*batchv1.Job](errQuota))
		b.queue.Put("a")
		time.Sleep(time.Second)
		secret := b.secret()
		secret.Finalizers = []string{"example.com/waits"}
		if err := errors.Join(b.client.Update(t.Context(), secret), b.client.Delete(t.Context(), secret)); err != nil {
			t.Fatal(err)
		}
		b.crash()
		b.start(b.queue)
		time.Sleep(10 * time.Minute)
		if names, _ := b.jobs(); len(names) > 1 {
			t.Errorf("Jobs %v beside a Secret that goes", names)
		}
		secret = b.secret()
		secret.Finalizers = nil
		if err := b.client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		time.Sleep(16 * time.Minute)
		b.whole()
	})
}

// A Secret that somebody else made under the name is left alone, and no Job is made that would mount it.
func TestAForeignSecretIsNotTaken(t *testing.T) {
	run(t, inFiles, func(b *bench) {
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: b.attempt("a", 1)}}
		if err := b.client.Create(t.Context(), foreign); err != nil {
			t.Fatal(err)
		}
		b.queue.Put("a", "b")
		time.Sleep(time.Minute)
		if names, _ := b.jobs(); len(names) != 1 || names[0] != b.attempt("b", 1) || len(b.secret().OwnerReferences) != 0 {
			t.Errorf("Jobs %v, Secret %v; want a Job for the other message only", names, b.secret())
		}
		if left, _ := b.queue.Left(); left != 1 {
			t.Errorf("%d messages left, want the one", left)
		}
	})
}
