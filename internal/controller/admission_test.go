package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
	"github.com/queuebinding/queuebinding/test/webhook"
)

// trial is the target of the Job by which a test finds out whether its webhook or policy is in force.
const trial = "trial"

// gatekeeper is a webhook that is asked about each Job of a workspace.
type gatekeeper struct {
	*webhook.Server

	mu     sync.Mutex
	decide func(target string) webhook.Answer
	// asked are the targets of Jobs that were to be created, in their order, those of dry runs not among them.
	asked []string
	tried bool
}

// guard has a webhook asked about the Jobs of the namespace, by their target, and waits until it is.
func (w *workspace) guard(ctx SpecContext, mutates bool, decide func(target string) webhook.Answer) *gatekeeper {
	GinkgoHelper()
	g := &gatekeeper{decide: decide}
	server, err := webhook.Start(g.answer)
	Expect(err).NotTo(HaveOccurred())
	g.Server = server
	rule := webhook.Rule{Namespace: w.namespace, Group: batchv1.GroupName, Resources: []string{"jobs"}, TimeoutSeconds: 1}
	var configuration client.Object = server.Validating(w.namespace, rule)
	if mutates {
		configuration = server.Mutating(w.namespace, rule)
	}
	Expect(k8s.Create(ctx, configuration)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(k8s.Delete(ctx, configuration)).To(Succeed())
		Expect(server.Close()).To(Succeed())
	})
	Eventually(func() bool {
		_ = k8s.Create(ctx, w.trial(), client.DryRunAll) // whatever the webhook says
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.tried
	}).Should(BeTrue(), "the API server did not ask the webhook")
	return g
}

// trial is a Job like those of the binding.
func (w *workspace) trial() *batchv1.Job {
	example := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: trial}, Spec: *w.binding.Spec.JobTemplate.Spec.DeepCopy()}
	example.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "target", Value: trial}}
	return example
}

func (g *gatekeeper) answer(request *admissionv1.AdmissionRequest) webhook.Answer {
	asked := &batchv1.Job{}
	if err := json.Unmarshal(request.Object.Raw, asked); err != nil {
		return webhook.Answer{Denial: &metav1.Status{Message: err.Error()}}
	}
	target := ""
	for _, variable := range asked.Spec.Template.Spec.Containers[0].Env {
		if variable.Name == "target" {
			target = variable.Value
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tried = g.tried || target == trial
	if !ptr.Deref(request.DryRun, false) {
		g.asked = append(g.asked, target)
	}
	return g.decide(target)
}

// change has the webhook decide otherwise from now on.
func (g *gatekeeper) change(decide func(target string) webhook.Answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.decide = decide
}

// seen returns the targets that were asked about.
func (g *gatekeeper) seen() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.asked)
}

func allow(string) webhook.Answer { return webhook.Answer{} }

// failing has the webhook fail for all.
func failing(how webhook.Failure) func(string) webhook.Answer {
	return func(string) webhook.Answer { return webhook.Answer{Failure: how} }
}

// only answers so for one target, and allows the others.
func only(target string, answer webhook.Answer) func(string) webhook.Answer {
	return func(asked string) webhook.Answer {
		if asked == target {
			return answer
		}
		return webhook.Answer{}
	}
}

// targets returns those of the Jobs there are.
func (w *workspace) targets(ctx context.Context) []string {
	var all []string
	for _, made := range w.jobs(ctx) {
		all = append(all, body(made))
	}
	return all
}

// bodies returns the bodies of messages for targets.
func bodies(targets ...string) []string {
	var all []string
	for _, target := range targets {
		all = append(all, fmt.Sprintf(`{"target": %q}`, target))
	}
	return all
}

// hiddenFor returns how long a message is hidden from now on, and how often it was received.
func (q *memoryQueue) hiddenFor(id string) (hidden time.Duration, receives int) {
	q.Change(func(messages []*fake.Message) {
		for _, m := range messages {
			if m.ID == id {
				hidden, receives = time.Until(m.VisibleAt), m.ReceiveCount
			}
		}
	})
	return hidden, receives
}

// uncover makes a message visible that is hidden.
func (q *memoryQueue) uncover(id string) {
	q.Change(func(messages []*fake.Message) {
		for _, m := range messages {
			if m.ID == id {
				m.VisibleAt = time.Now()
			}
		}
	})
}

// rejected matches a status by its last rejection.
func rejected(id, reason string) OmegaMatcher {
	return And(HaveField("LastRejection.MessageID", id), HaveField("LastRejection.Reason", reason))
}

// roomy has room for all messages of a test. A message in work is hidden for less than one that was rejected twice.
func roomy(s *v1alpha1.QueueBindingSpec) {
	s.Concurrency.MaxActiveJobs = new(int32(50))
	s.Queue.VisibilityTimeoutSeconds = new(int32(30))
}

// P5: a webhook that fails for one object is the fault of that one's message.
var _ = Describe("A webhook that fails for one message", func() {
	DescribeTable("has that one go back with a growing delay, and others pass", func(ctx SpecContext, mutates bool, answer webhook.Answer) {
		w := newWorkspace(ctx, roomy)
		g := w.guard(ctx, mutates, only("bad", answer))
		id := w.send("bad")[0]
		w.send("a", "b", "c")
		Eventually(w.targets).WithArguments(ctx).Should(Equal(bodies("a", "b", "c")))
		Eventually(w.status).WithArguments(ctx).Should(And(rejected(id, v1alpha1.RejectedCreateFails), condition(v1alpha1.ConditionReady, HavePrefix("True"))))

		// At its second receive it is hidden for longer than anything else hides it, and the binding goes on.
		w.queue.uncover(id)
		w.send("d", "e", "f")
		Eventually(func() time.Duration { hidden, _ := w.queue.hiddenFor(id); return hidden }).Should(BeNumerically(">", 40*time.Second))
		Eventually(w.targets).WithArguments(ctx).Should(Equal(bodies("a", "b", "c", "d", "e", "f")))
		_, receives := w.queue.hiddenFor(id)
		Expect(receives).To(Equal(2))
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("True")))

		w.send("g")
		Eventually(w.targets).WithArguments(ctx).Should(HaveLen(7))
		Consistently(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("True")))

		g.change(allow)
		w.queue.uncover(id)
		Eventually(w.targets).WithArguments(ctx).Should(Equal(bodies("a", "b", "bad", "c", "d", "e", "f", "g")))
		Eventually(w.queue.remaining).Should(BeEmpty())
	},
		Entry("with an error", false, webhook.Answer{Failure: webhook.Error}),
		Entry("by no answer in time", false, webhook.Answer{Failure: webhook.Hang}),
		Entry("by closing the connection", false, webhook.Answer{Failure: webhook.Cut}),
		Entry("with a patch of what is not there", true, webhook.Answer{Patch: `[{"op": "replace", "path": "/spec/none/deep", "value": 1}]`}),
		Entry("with a patch to what is no Job", true, webhook.Answer{Patch: `[{"op": "replace", "path": "/spec/template", "value": 1}]`}),
	)
})

var _ = Describe("A webhook that fails for all", func() {
	DescribeTable("rejects nobody, and all go on once it is up", func(ctx SpecContext, fail func(*gatekeeper), mend func(*gatekeeper)) {
		w := newWorkspace(ctx, roomy)
		g := w.guard(ctx, false, allow)
		fail(g)
		w.send("a", "b", "c")
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("False WebhookUnavailable")))
		// For long enough that each was refused, and one again.
		Consistently(w.status).WithArguments(ctx).WithTimeout(5 * time.Second).Should(And(
			HaveField("LastRejection", BeNil()), condition(v1alpha1.ConditionReady, HavePrefix("False WebhookUnavailable"))))
		w.send("d")
		mend(g)
		Eventually(w.targets).WithArguments(ctx).Should(Equal(bodies("a", "b", "c", "d")))
		Eventually(w.status).WithArguments(ctx).Should(And(HaveField("LastRejection", BeNil()), condition(v1alpha1.ConditionReady, HavePrefix("True Running"))))
		Eventually(w.queue.remaining).Should(BeEmpty())
	},
		Entry("as its port is closed", func(g *gatekeeper) { Expect(g.Down()).To(Succeed()) }, func(g *gatekeeper) { Expect(g.Up()).To(Succeed()) }),
		Entry("as it answers 500", func(g *gatekeeper) { g.change(failing(webhook.Error)) }, func(g *gatekeeper) { g.change(allow) }),
		Entry("as it does not answer", func(g *gatekeeper) { g.change(failing(webhook.Hang)) }, func(g *gatekeeper) { g.change(allow) }),
	)

	It("has one message after the other try", func(ctx SpecContext) {
		w := newWorkspace(ctx, roomy)
		g := w.guard(ctx, false, failing(webhook.Error))
		w.send("a", "b", "c")
		const first, turns = 3, 3
		Eventually(g.seen).Should(HaveLen(first + turns))
		Expect(g.seen()[first:first+turns]).To(ConsistOf("a", "b", "c"), "asked about %v", g.seen())
		g.change(allow)
		// One that was caught by the change may have been taken for the one at fault, and comes back.
		Eventually(w.targets).WithArguments(ctx).WithTimeout(2 * time.Minute).Should(Equal(bodies("a", "b", "c")))
	})

	It("now and then loses and doubles nothing", func(ctx SpecContext) {
		w := newWorkspace(ctx, roomy)
		g := w.guard(ctx, false, allow)
		var sent []string
		for round := range 5 {
			Expect(g.Down()).To(Succeed())
			for n := range 3 {
				target := fmt.Sprintf("%d-%d", round, n)
				sent = append(sent, target)
				w.send(target)
			}
			Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("False WebhookUnavailable")))
			Expect(g.Up()).To(Succeed())
			Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("True")))
		}
		Eventually(w.targets).WithArguments(ctx).Should(Equal(bodies(sent...)))
		Eventually(w.queue.remaining).Should(BeEmpty())
		Expect(w.status(ctx)).To(HaveField("LastRejection", BeNil()))
	})
})

// echoes are what the API server says where it takes no Jobs at all, or refuses one for itself, in the words of somebody else.
var echoes = []string{
	`failed calling webhook "policy.example.com": connection refused`,
	`Internal error occurred: failed calling webhook "policy.example.com": EOF`,
	`jobs.batch "x" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1`,
	`forbidden: exceeded quota: jobs`,
	`etcdserver: request is too large`,
	`Internal error occurred: etcdserver: request is too large`,
	`unable to create new content in namespace batch because it is being terminated`,
	`User "x" cannot create resource "jobs"`,
	`jobs.batch "x" already exists`,
	`not yet ready to handle request`,
}

// statuses are what a webhook may say of a denial, beside its text.
var statuses = []metav1.Status{
	{},
	{Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError},
	{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden},
	{Code: http.StatusConflict, Reason: metav1.StatusReasonAlreadyExists},
	{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict},
	{Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound},
	{Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized},
	{Code: http.StatusGatewayTimeout, Reason: metav1.StatusReasonTimeout},
	{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Details: &metav1.StatusDetails{
		Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}},
	}},
}

// P5: whatever a denial says, it is about this message.
var _ = Describe("A denial in the API server's own words", func() {
	It("by a webhook rejects its message only", func(ctx SpecContext) {
		w := newWorkspace(ctx, roomy)
		denials := map[string]webhook.Answer{}
		for i, text := range echoes {
			denials[text] = webhook.Answer{Denial: &metav1.Status{Message: "no: " + text}} // as it quotes the message's value
			denials[fmt.Sprintf("text-%d", i)] = webhook.Answer{Denial: &metav1.Status{Message: text}}
		}
		for i, status := range statuses {
			status.Message = echoes[0]
			denials[fmt.Sprintf("status-%d", i)] = webhook.Answer{Denial: &status}
		}
		g := w.guard(ctx, false, func(target string) webhook.Answer { return denials[target] })
		for target := range denials {
			id := w.send(target)[0]
			Eventually(w.status).WithArguments(ctx).Should(rejected(id, v1alpha1.RejectedAdmissionDenied), "for target %s", target)
			// One that passes, so that there are not so many rejections in a row that the template is doubted.
			w.send("good")
		}
		Eventually(w.targets).WithArguments(ctx).Should(HaveLen(len(denials)))
		asked := map[string]int{}
		for _, target := range g.seen() {
			asked[target]++
		}
		delete(asked, "good")
		Expect(asked).To(HaveEach(1))
		Expect(w.status(ctx)).To(condition(v1alpha1.ConditionReady, HavePrefix("True Running")))
	})

	DescribeTable("by a policy rejects its message only", func(ctx SpecContext, reason metav1.StatusReason) {
		w := newWorkspace(ctx, roomy)
		// The text is the message's own value, whole.
		const target = `string(object.spec.template.spec.containers[0].env.filter(e, e.name == "target")[0].value)`
		w.deny(ctx, admissionregistrationv1.Validation{
			Expression: target + ` == "good"`, Message: "not this one", MessageExpression: target, Reason: &reason,
		}, w.trial())
		for _, text := range echoes {
			id := w.send(text)[0]
			Eventually(w.status).WithArguments(ctx).Should(And(
				rejected(id, v1alpha1.RejectedAdmissionDenied),
				HaveField("LastRejection.Message", And(ContainSubstring("ValidatingAdmissionPolicy"), Not(ContainSubstring(text)))),
			), "for target %s", text)
			w.send("good")
		}
		Eventually(w.targets).WithArguments(ctx).Should(HaveLen(len(echoes)))
		Expect(w.status(ctx)).To(condition(v1alpha1.ConditionReady, HavePrefix("True Running")))
	},
		Entry("as forbidden", metav1.StatusReasonForbidden),
		Entry("as invalid", metav1.StatusReasonInvalid),
		Entry("as too large", metav1.StatusReasonRequestEntityTooLarge),
	)
})

// P5: a Secret that waits for its deletion stops the message whose name it has.
var _ = Describe("A Secret that waits for its deletion", func() {
	DescribeTable("stops its own message only", func(ctx SpecContext, owner func(*workspace, string) metav1.OwnerReference) {
		w := newWorkspace(ctx, roomy, func(s *v1alpha1.QueueBindingSpec) { s.Message.Delivery = v1alpha1.DeliverFile })
		const id = "message-1"
		name := job.Lineage{Root: id, Attempt: 1}.JobName(w.binding.Name, w.binding.UID)
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: name, Finalizers: []string{"example.com/waits"}, OwnerReferences: []metav1.OwnerReference{owner(w, name)},
		}}
		Expect(k8s.Create(ctx, secret)).To(Succeed())
		Expect(k8s.Delete(ctx, secret)).To(Succeed())
		Expect(w.send("a")).To(Equal([]string{id}))
		w.send("b", "c")
		Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(2))
		Eventually(w.status).WithArguments(ctx).Should(And(rejected(id, v1alpha1.RejectedCreateFails), condition(v1alpha1.ConditionReady, HavePrefix("True Running"))))
		Expect(names(w.jobs(ctx))).NotTo(ContainElement(name))

		before := secret.DeepCopy()
		secret.Finalizers = nil
		Expect(k8s.Patch(ctx, secret, client.MergeFrom(before))).To(Succeed())
		w.queue.uncover(id)
		Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(3))
		Eventually(w.queue.remaining).Should(BeEmpty())
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		Expect(string(secret.Data["body"])).To(Equal(`{"target": "a"}`))
	},
		Entry("as one of a Job that is gone", func(_ *workspace, name string) metav1.OwnerReference {
			return metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: name, UID: "a-job-that-is-gone", Controller: new(true)}
		}),
		Entry("as the binding's, before it had a Job", func(w *workspace, _ string) metav1.OwnerReference {
			return *metav1.NewControllerRef(w.binding, v1alpha1.GroupVersion.WithKind("QueueBinding"))
		}),
	)
})
