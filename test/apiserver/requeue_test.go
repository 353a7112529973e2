package apiserver_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const root = "/apis/subresources.queuebinding.dev/v1alpha1"

func (w *workspace) path(binding string) string {
	return fmt.Sprintf("%s/namespaces/%s/queuebindings/%s/requeue", root, w.namespace, binding)
}

// post posts a body as a user, empty for the administrator, and returns the answer or the API server's error.
func (w *workspace) post(ctx SpecContext, user, path, body string) (*subresources.Requeue, error) {
	GinkgoHelper()
	config := rest.CopyConfig(cluster.Config)
	config.Impersonate.UserName = user
	config.GroupVersion = &subresources.GroupVersion
	config.NegotiatedSerializer = codecs
	rc, err := rest.UnversionedRESTClientFor(config)
	Expect(err).NotTo(HaveOccurred())
	data, err := rc.Post().RequestURI(path).SetHeader("Content-Type", "application/json").Body([]byte(body)).DoRaw(ctx)
	if err != nil {
		// Raw bytes tell more than the client's reading of them.
		status := &metav1.Status{}
		if json.Unmarshal(data, status) == nil && status.Code != 0 {
			return nil, &apierrors.StatusError{ErrStatus: *status}
		}
		return nil, err
	}
	answer := &subresources.Requeue{}
	Expect(json.Unmarshal(data, answer)).To(Succeed())
	return answer, nil
}

func body(spec subresources.RequeueSpec) string {
	GinkgoHelper()
	request := subresources.Requeue{Spec: spec}
	request.SetGroupVersionKind(subresources.GroupVersion.WithKind("Requeue"))
	data, err := json.Marshal(&request)
	Expect(err).NotTo(HaveOccurred())
	return string(data)
}

// allow gives a user a role in the namespace.
func (w *workspace) allow(ctx SpecContext, role, user string) {
	GinkgoHelper()
	kubectl(ctx, "create", "rolebinding", user, "-n", w.namespace, "--clusterrole="+role, "--user="+user)
}

// may is what `kubectl auth can-i` says of the subresource.
func (w *workspace) may(ctx SpecContext, user string) string {
	GinkgoHelper()
	r := run(ctx, "", "kubectl", "auth", "can-i", "create", "queuebindings.subresources.queuebinding.dev/pings", "--subresource=requeue", "-n", w.namespace, "--as="+user)
	return strings.TrimSpace(r.out)
}

var _ = Describe("The subresource", func() {
	It("is discovered, described, and leaves the bindings' own name alone", func(ctx SpecContext) {
		Expect(kubectl(ctx, "get", "--raw", root)).To(And(
			ContainSubstring(`{"name":"queuebindings/requeue","singularName":"","namespaced":true,"kind":"Requeue","verbs":["create"]}`),
			ContainSubstring(`"name":"queuebindings","singularName":"queuebinding","namespaced":true,"kind":"Requeue","verbs":[]`),
		))
		Expect(kubectl(ctx, "get", "queuebindings", "-A")).To(BeEmpty())
		// The API server gathers descriptions in its own time.
		Eventually(func() string { return run(ctx, "", "kubectl", "get", "--raw", "/openapi/v3"+root).out }).
			Should(And(ContainSubstring("jobNames are the names of failed Jobs"), ContainSubstring("dev.queuebinding.subresources.v1alpha1.Requeue")))
		Eventually(func() string { return run(ctx, "", "kubectl", "get", "--raw", "/openapi/v2").out }).Should(ContainSubstring("RequeueSpec"))
	})

	It("answers kubectl with what is accepted and refused, and has the rest done", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		jobs := w.fail(ctx, 2)
		r := run(ctx, body(subresources.RequeueSpec{JobNames: []string{jobs[0], "no-such-job"}}), "kubectl", "create", "--raw", w.path("pings"), "-f", "-")
		Expect(r.code).To(BeZero(), r.err)
		answer := &subresources.Requeue{}
		Expect(json.Unmarshal([]byte(r.out), answer)).To(Succeed())
		Expect(answer.Status.Accepted).To(ConsistOf(jobs[0]))
		Expect(answer.Status.Refused).To(HaveLen(1))
		Expect(answer.Status.Refused[0]).To(And(HaveField("JobName", "no-such-job"), HaveField("Reason", v1alpha1.RefusedNotFound), HaveField("Message", Not(BeEmpty()))))
		Eventually(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"1": 1, "2": 1}))
		Eventually(w.asked).WithArguments(ctx).Should(BeEmpty())
		Expect(os.ReadFile(server.Log)).NotTo(ContainSubstring("SHOULD NOT HAPPEN"))
	})

	It("takes all, and selections by reason and label", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.fail(ctx, 2)
		for _, none := range []subresources.RequeueSpec{
			{Reasons: []string{"DeadlineExceeded"}},
			{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "other"}}},
			{Reasons: []string{"DeadlineExceeded"}, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "net"}}},
		} {
			answer, err := w.post(ctx, "", w.path("pings"), body(none))
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.Status).To(BeZero())
		}
		for attempt, some := range []subresources.RequeueSpec{
			{Reasons: []string{"DeadlineExceeded", "BackoffLimitExceeded"}},
			{LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: metav1.LabelSelectorOpExists}}}},
			{All: true},
		} {
			// The operator's own view may be a moment behind the test's.
			Eventually(func(g Gomega) {
				answer, err := w.post(ctx, "", w.path("pings")+"?dryRun=All", body(some))
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(answer.Status.Accepted).To(HaveLen(2))
			}).Should(Succeed())
			_, err := w.post(ctx, "", w.path("pings"), body(some))
			Expect(err).NotTo(HaveOccurred())
			Eventually(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{fmt.Sprint(attempt + 2): 2}))
			Eventually(w.failed).WithArguments(ctx).Should(HaveLen(2))
		}
	})

	It("records nothing in a dry run", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		jobs := w.fail(ctx, 1)
		answer, err := w.post(ctx, "", w.path("pings")+"?dryRun=All", body(subresources.RequeueSpec{JobNames: jobs}))
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status.Accepted).To(Equal(jobs))
		Consistently(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"1": 1}))
		Expect(w.asked(ctx)).To(BeEmpty())
	})

	It("refuses bad bodies with words that say where", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		many := make([]string, subresources.MaxJobNames+1)
		for i := range many {
			many[i] = fmt.Sprintf("job-%d", i)
		}
		for name, tc := range map[string]struct {
			body  string
			code  int32
			words string
		}{
			"broken JSON":         {`{"spec":`, 400, "unexpected end of JSON"},
			"another kind":        {`{"apiVersion":"v1","kind":"Pod"}`, 400, "cannot be handled as a Requeue"},
			"a string for a list": {`{"spec":{"jobNames":"a"}}`, 400, "jobNames"},
			"another's name":      {`{"metadata":{"name":"other"},"spec":{"all":true}}`, 400, "metadata.name"},
			"nothing":             {body(subresources.RequeueSpec{}), 422, "spec: Required value"},
			"two ways":            {body(subresources.RequeueSpec{All: true, JobNames: []string{"a"}}), 422, "spec: Forbidden"},
			"too many":            {body(subresources.RequeueSpec{JobNames: many}), 422, "spec.jobNames: Too many"},
			"no name":             {body(subresources.RequeueSpec{JobNames: []string{"a", "A_b"}}), 422, "spec.jobNames[1]: Invalid value"},
			"a name twice":        {body(subresources.RequeueSpec{JobNames: []string{"a", "a"}}), 422, "spec.jobNames[1]: Duplicate value"},
			"a blank reason":      {body(subresources.RequeueSpec{Reasons: []string{" "}}), 422, "spec.reasons[0]: Invalid value"},
			"an empty selector":   {body(subresources.RequeueSpec{LabelSelector: &metav1.LabelSelector{}}), 422, "spec.labelSelector: Required value"},
			"a bad selector": {body(subresources.RequeueSpec{LabelSelector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Like"}},
			}}), 422, "spec.labelSelector.matchExpressions[0].operator"},
		} {
			_, err := w.post(ctx, "", w.path("pings"), tc.body)
			var status *apierrors.StatusError
			Expect(errors.As(err, &status)).To(BeTrue(), "%s: %v", name, err)
			Expect(status.ErrStatus.Code).To(Equal(tc.code), "%s: %v", name, err)
			Expect(status).To(MatchError(ContainSubstring(tc.words)), name)
		}
		_, err := w.post(ctx, "", w.path("nobody"), body(subresources.RequeueSpec{All: true}))
		Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%v", err)
		Expect(w.asked(ctx)).To(BeEmpty())
	})
})

var _ = Describe("The right to requeue", func() {
	It("is enough to requeue and for nothing else, and its use is told on the binding", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		jobs := w.fail(ctx, 1)
		w.allow(ctx, "queuebinding-requeuer", "night-shift")
		Expect(w.may(ctx, "night-shift")).To(Equal("yes"))
		edit := run(ctx, "", "kubectl", "annotate", "queuebinding", "pings", "-n", w.namespace, "a=b", "--as=night-shift")
		Expect(edit.err).To(ContainSubstring("Forbidden"))
		Expect(run(ctx, "", "kubectl", "delete", "job", jobs[0], "-n", w.namespace, "--as=night-shift").err).To(ContainSubstring("Forbidden"))

		answer, err := w.post(ctx, "night-shift", w.path("pings"), body(subresources.RequeueSpec{JobNames: jobs}))
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status.Accepted).To(Equal(jobs))
		Eventually(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"2": 1}))
		Eventually(func() []string {
			events := &eventsv1.EventList{}
			Expect(k8s.List(ctx, events, client.InNamespace(w.namespace))).To(Succeed())
			var notes []string
			for _, e := range events.Items {
				if e.Reason == v1alpha1.EventRequeueAsked && e.Regarding.Name == "pings" {
					notes = append(notes, e.Note)
				}
			}
			return notes
		}).Should(ContainElement(And(ContainSubstring("night-shift"), ContainSubstring(jobs[0]))))
	})

	It("comes with admin and edit, and with nothing less", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		for _, role := range []string{"admin", "edit", "view"} {
			w.allow(ctx, role, role+"-user")
		}
		// The roles are put together by a controller of the cluster.
		Eventually(w.may).WithArguments(ctx, "edit-user").Should(Equal("yes"))
		Eventually(w.may).WithArguments(ctx, "admin-user").Should(Equal("yes"))
		Expect(w.may(ctx, "view-user")).To(Equal("no"))
		for _, user := range []string{"view-user", "reader", "nobody"} {
			_, err := w.post(ctx, user, w.path("pings"), body(subresources.RequeueSpec{All: true}))
			Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%s: %v", user, err)
		}
		Expect(w.asked(ctx)).To(BeEmpty())
	})
})

var _ = Describe("The server's port", func() {
	It("lets in nobody but the API server, and has no tokens reviewed", func(ctx SpecContext) {
		direct := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // it is on this machine
		ask := func(path, token string) int {
			GinkgoHelper()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d%s", port, path), nil)
			Expect(err).NotTo(HaveOccurred())
			request.Header.Set("Authorization", "Bearer "+token)
			response, err := direct.Do(request)
			Expect(err).NotTo(HaveOccurred())
			Expect(response.Body.Close()).To(Succeed())
			return response.StatusCode
		}
		reviews := func() []string {
			GinkgoHelper()
			var counts []string
			for line := range strings.Lines(kubectl(ctx, "get", "--raw", "/metrics")) {
				if strings.HasPrefix(line, "apiserver_request_total{") && strings.Contains(line, `"tokenreviews"`) {
					counts = append(counts, line)
				}
			}
			return counts
		}
		before := reviews()
		Expect(ask("/readyz", "bad")).To(Equal(http.StatusOK))
		valid := strings.TrimSpace(kubectl(ctx, "create", "token", "queuebinding-controller-manager", "-n", system))
		Expect(ask(root, valid)).To(Equal(http.StatusUnauthorized))
		for i := range 200 {
			Expect(ask(root, fmt.Sprintf("bad-%d", i))).To(Equal(http.StatusUnauthorized))
		}
		Expect(reviews()).To(Equal(before))
	})
})

var _ = Describe("Requests at the same time", func() {
	It("are all kept, and each failed Job is requeued once", func(ctx SpecContext) {
		const jobCount, requestCount, each = 40, 200, 10
		w := newWorkspace(ctx)
		jobs := w.fail(ctx, jobCount)
		var mu sync.Mutex
		accepted := map[string]bool{}
		var problems []error
		var requests sync.WaitGroup
		for i := range requestCount {
			var names []string
			for n := range each {
				names = append(names, jobs[(i+n*3)%jobCount])
			}
			data := body(subresources.RequeueSpec{JobNames: names})
			requests.Go(func() {
				defer GinkgoRecover()
				answer, err := w.post(ctx, "", w.path("pings"), data)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					problems = append(problems, err)
					return
				}
				for _, name := range answer.Status.Accepted {
					accepted[name] = true
				}
				for _, refusal := range answer.Status.Refused {
					// Requeued already: the first attempt is gone.
					if refusal.Reason != v1alpha1.RefusedNotFound {
						problems = append(problems, fmt.Errorf("%s: %s", refusal.JobName, refusal.Message))
					}
				}
			})
		}
		requests.Wait()
		Expect(problems).To(BeEmpty())
		Expect(accepted).To(HaveLen(jobCount))
		Eventually(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"2": jobCount}))
		Eventually(w.asked).WithArguments(ctx).Should(BeEmpty())
		Consistently(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"2": jobCount}))
	})
})

var _ = Describe("The certificate", func() {
	It("is made anew where it is lost, with no gap", func(ctx SpecContext) {
		secret := &corev1.Secret{}
		key := client.ObjectKey{Namespace: system, Name: "queuebinding-apiserver-tls"}
		Expect(k8s.Get(ctx, key, secret)).To(Succeed())
		before := secret.UID
		Expect(k8s.Delete(ctx, secret)).To(Succeed())
		Eventually(func() types.UID {
			current := &corev1.Secret{}
			if err := k8s.Get(ctx, key, current); err != nil {
				return before
			}
			secret = current
			return current.UID
		}).ShouldNot(Equal(before))
		Eventually(func() []byte {
			service := &apiregistrationv1.APIService{}
			Expect(k8s.Get(ctx, client.ObjectKey{Name: apiService}, service)).To(Succeed())
			return service.Spec.CABundle
		}).Should(Equal(secret.Data["ca.crt"]))
		w := newWorkspace(ctx)
		Eventually(func() error {
			_, err := w.post(ctx, "", w.path("pings"), body(subresources.RequeueSpec{All: true}))
			return err
		}).Should(Succeed())
	})
})
