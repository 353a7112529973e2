package job

import (
	"crypto/rand"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

func inFiles(variables ...string) *v1alpha1.QueueBinding {
	binding := aBinding(variables...)
	binding.Spec.Message.Delivery = v1alpha1.DeliverFile
	return binding
}

func TestFilesAreMountedInEveryContainerAndNowhereElseInTheJob(t *testing.T) {
	job := rendered(t, inFiles(), aMessage("the body"))
	pod := job.Spec.Template
	for _, container := range []corev1.Container{pod.Spec.InitContainers[0], pod.Spec.Containers[0]} {
		if len(container.VolumeMounts) != 1 || container.VolumeMounts[0].MountPath != "/var/run/queuebinding" || !container.VolumeMounts[0].ReadOnly {
			t.Errorf("%s mounts %+v", container.Name, container.VolumeMounts)
		}
		environment := environmentOf(container)
		if environment[v1alpha1.EnvMessageFile] != "/var/run/queuebinding/body" {
			t.Errorf("environment of %s: %v", container.Name, environment)
		}
		if _, ok := environment[v1alpha1.EnvMessageBody]; ok {
			t.Error("the body is in the environment too")
		}
	}
	if strings.Contains(job.String(), "the body") {
		t.Error("the Job holds the body too")
	}
	if !Observe(job).Files {
		t.Error("the record does not tell of the files")
	}
}

func TestSecretsAreImmutableAndTheBindingsUntilTheyAreTheJobs(t *testing.T) {
	job := rendered(t, inFiles(), aMessage("x"))
	secrets, err := Secrets(job, aMessage("x"))
	if err != nil || len(secrets) != 1 {
		t.Fatalf("got %v and %v, want one Secret", secrets, err)
	}
	if secrets[0].Immutable == nil || !*secrets[0].Immutable || Owner(secrets[0]) != Owner(job) {
		t.Errorf("got %+v", secrets[0])
	}
	job.UID = "the Job's"
	OwnSecret(job, secrets[0])
	if len(secrets[0].OwnerReferences) != 1 || !metav1.IsControlledBy(secrets[0], job) {
		t.Errorf("got %+v", secrets[0])
	}
}

// A body of SQS's full size, with attributes on top of it, survives into the Secrets and back through a requeue.
func TestAMessageOfAMebibyteFits(t *testing.T) {
	message := aMessage(strings.Repeat("x", queue.MaxMessageBytes-9000))
	message.Attributes = queue.Attributes{"raw": {DataType: "Binary.png", BinaryValue: make([]byte, 8000)}}
	if _, err := rand.Read(message.Attributes["raw"].BinaryValue); err != nil {
		t.Fatal(err)
	}
	job := rendered(t, inFiles("size", "size(message.body)"), message)
	roundTrip(t, job.DeepCopy(), message, 2)

	whole := aMessage(strings.Repeat("x", queue.MaxMessageBytes))
	roundTrip(t, rendered(t, inFiles(), whole), whole, 2)
}

func roundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, job *batchv1.Job, message *queue.Message, wantSecrets int,
) {
	t.Helper()
	secrets, err := Secrets(job, message)
	if err != nil {
		t.Fatalf("no Secrets: %v", err)
	}
	names := SecretNames(job)
	if len(names) != len(secrets) || wantSecrets > 0 && len(secrets) != wantSecrets {
		t.Fatalf("the Job mounts %v, and there are %d Secrets; want %d", names, len(secrets), wantSecrets)
	}
	var stored []corev1.Secret
	for i, secret := range secrets {
		if secret.Name != names[i] {
			t.Fatalf("Secret %s, but the Job mounts %s", secret.Name, names[i])
		}
		size := 0
		for _, value := range secret.Data {
			size += len(value)
		}
		if size > corev1.MaxSecretSize {
			t.Fatalf("Secret %s has %d bytes", secret.Name, size)
		}
		stored = append(stored, *secret)
	}
	got, err := MessageOf(job, stored)
	if err != nil {
		t.Fatalf("no message: %v", err)
	}
	if got.Body != message.Body || got.GroupID != message.GroupID || !equality.Semantic.DeepEqual(got.Attributes, message.Attributes) {
		t.Fatalf("got %+v, want %+v", got.Attributes, message.Attributes)
	}
}

func TestAMessageSurvivesInFilesByteForByte(t *testing.T) {
	binding := inFiles()
	rapid.Check(t, func(rt *rapid.T) {
		message := drawMessage(rt)
		job, err := tryRender(t, binding, message)
		if err != nil {
			rt.Fatalf("rejected: %v", err)
		}
		roundTrip(rt, job, message, 1)
	})
}

func TestADamagedSecretIsTold(t *testing.T) {
	job := rendered(t, inFiles(), aMessage("x"))
	for name, secrets := range map[string][]corev1.Secret{
		"missing":   nil,
		"no body":   {{Data: map[string][]byte{attributesKey: []byte("{}")}}},
		"not JSON":  {{Data: map[string][]byte{bodyKey: []byte("x"), attributesKey: []byte("{")}}},
		"no values": {{}},
	} {
		if _, _, err := NextAttempt(testKeys, "https://a.queue/", job, secrets, false); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
