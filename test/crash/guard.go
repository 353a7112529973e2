package crash

import (
	"context"
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/webhook"
)

// unwelcome is the target of messages whose Jobs a webhook fails at.
const unwelcome = "127.0.0.2"

// failsAtUnwelcome fails for the Jobs of such messages, and allows the others.
func failsAtUnwelcome(made *batchv1.Job) webhook.Answer {
	for _, variable := range made.Spec.Template.Spec.Containers[0].Env {
		if variable.Name == "target" && variable.Value == unwelcome {
			return webhook.Answer{Failure: webhook.Error}
		}
	}
	return webhook.Answer{}
}

// review answers the API server as the scenario has it, until the case is mended.
func (c *Case) review(request *admissionv1.AdmissionRequest) webhook.Answer {
	made := &batchv1.Job{}
	switch err := json.Unmarshal(request.Object.Raw, made); {
	case err != nil:
		return webhook.Answer{Denial: &metav1.Status{Message: err.Error()}}
	case made.Name == trial:
		c.tried.Do(func() { close(c.asked) })
		return webhook.Answer{}
	case c.mended.Load():
		return webhook.Answer{}
	}
	return c.Webhook(made)
}

// trial is the name of a Job by which it is found out that the webhook is asked.
const trial = "trial"

// guard has the API server ask the webhook about Jobs of the namespace, and waits until it does so.
func (c *Case) guard(ctx context.Context, namespace string) error {
	configuration := c.webhook.Validating(namespace, webhook.Rule{
		Namespace: namespace, Group: batchv1.GroupName, Resources: []string{"jobs"}, TimeoutSeconds: 5,
	})
	if err := c.Cluster.Client.Create(ctx, configuration); err != nil {
		return fmt.Errorf("registering the webhook: %w", err)
	}
	example := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: trial}}
	example.Spec.Template.Spec = corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "x", Image: "x"}},
	}
	return rig.Await(ctx, "the webhook", func() string {
		if err := c.Cluster.Client.Create(ctx, example.DeepCopy(), client.DryRunAll); err != nil {
			return err.Error()
		}
		select {
		case <-c.asked:
			return ""
		default:
			return "the API server does not ask it"
		}
	})
}

// unguard has the API server ask the webhook no more.
func (c *Case) unguard(ctx context.Context, namespace string) {
	_ = c.Cluster.Client.Delete(ctx, c.webhook.Validating(namespace, webhook.Rule{Namespace: namespace})) // it is of this namespace only
}
