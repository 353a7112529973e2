package controller_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/test/health"
)

// events are those of the binding, each with its reason and note.
func (w *workspace) events(ctx context.Context) []string {
	GinkgoHelper()
	list := &eventsv1.EventList{}
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
	var told []string
	for _, event := range list.Items {
		if event.Regarding.UID == w.binding.UID {
			told = append(told, event.Reason+": "+event.Note)
		}
	}
	return told
}

var _ = Describe("The conditions", func() {
	is := func(ready, reachable string) gomegatypes.GomegaMatcher {
		return And(
			condition(v1alpha1.ConditionReady, HavePrefix(ready)),
			condition(v1alpha1.ConditionQueueReachable, HavePrefix(reachable)),
			condition(v1alpha1.ConditionJobTemplateValid, HavePrefix("True Accepted")),
			HaveField("Conditions", HaveEach(HaveField("ObservedGeneration", BeNumerically(">", 0)))),
		)
	}

	It("are true while messages become Jobs, and also when the user suspends that", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		Eventually(w.status).WithArguments(ctx).Should(is("True Running", "True Reachable"))
		w.edit(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Suspend = true })
		Eventually(w.status).WithArguments(ctx).Should(And(is("True Suspended", "True Reachable"), HaveField("ObservedGeneration", BeEquivalentTo(2))))
		w.send("a")
		Consistently(w.jobs).WithArguments(ctx).Should(BeEmpty())
		w.edit(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Suspend = false })
		w.started(ctx, 1)
	})

	It("tell why the queue cannot be used, and when it can again", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.queue.fail(queue.Errorf(queue.AccessDenied, "not authorized to perform: sqs:receivemessage"))
		Eventually(w.status).WithArguments(ctx).Should(is("False AccessDenied: not authorized", "False AccessDenied: not authorized"))
		Eventually(w.events).WithArguments(ctx).Should(ConsistOf("Stopped: No more messages become Jobs: AccessDenied: not authorized to perform: sqs:receivemessage"))
		w.queue.fail(nil)
		w.send("a")
		w.started(ctx, 1)
		Eventually(w.status).WithArguments(ctx).Should(is("True Running", "True Reachable"))
		Eventually(w.events).WithArguments(ctx).Should(ContainElement("Resumed: Messages become Jobs again, which they did not: AccessDenied"))
	})

	It("tell of a Secret that is not there", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) {
			s.Queue.Credentials = &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "none"}}
		})
		Eventually(w.status).WithArguments(ctx).Should(is("False CredentialsUnavailable", "False CredentialsUnavailable: there is no Secret none"))
	})

	It("tell of a template in the API server's words, and nothing is received until it is mended", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) {
			s.JobTemplate.Spec.Template.Spec.Containers[0].Name = "Not_a_name"
		})
		w.send("a")
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionJobTemplateValid, And(
			HavePrefix("False JobInvalid"), ContainSubstring("spec.template.spec.containers[0].name"))))
		Expect(w.status(ctx)).To(condition(v1alpha1.ConditionReady, HavePrefix("False JobInvalid")))
		Consistently(w.queue.remaining).Should(HaveEach(HaveField("ReceiveCount", 0)))
		w.edit(ctx, func(s *v1alpha1.QueueBindingSpec) { s.JobTemplate.Spec.Template.Spec.Containers[0].Name = "a-name" })
		w.started(ctx, 1)
		Eventually(w.status).WithArguments(ctx).Should(is("True Running", "True Reachable"))
	})

	It("tell of an expression that does not compile", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Message.Variables[0].Expression = "message.jsn" })
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionJobTemplateValid, HavePrefix("False ExpressionInvalid")))
	})

	It("are understood by Flux and by Argo CD", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		seen := func() string {
			object := &unstructured.Unstructured{}
			object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("QueueBinding"))
			if err := k8s.Get(ctx, client.ObjectKeyFromObject(w.binding), object); err != nil {
				return err.Error()
			}
			flux, err := health.KStatus(object)
			if err != nil {
				return err.Error()
			}
			argo, err := health.ArgoCD(object)
			if err != nil {
				return err.Error()
			}
			return flux + ", " + argo
		}
		Eventually(seen).Should(Equal("Current, Healthy Running: Messages become Jobs"))
		w.queue.fail(queue.Errorf(queue.AccessDenied, "not authorized"))
		w.send("a")
		Eventually(seen).Should(HavePrefix("InProgress, Degraded AccessDenied: not authorized"))
		w.edit(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Suspend = true })
		Eventually(seen).Should(HavePrefix("Current, Suspended Suspended: "))
		w.edit(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Message.Variables[0].Expression = "message.jsn" })
		Eventually(seen).Should(HavePrefix("InProgress, Degraded ExpressionInvalid: "))

		// A finalizer of somebody else's keeps it for a while.
		w.patch(ctx, func(b *v1alpha1.QueueBinding) { b.Finalizers = []string{"example.com/held"} })
		Expect(k8s.Delete(ctx, w.binding)).To(Succeed())
		Eventually(seen).Should(Equal("Terminating, Progressing Being deleted"))
		w.patch(ctx, func(b *v1alpha1.QueueBinding) { b.Finalizers = nil })
	})
})
