package tenants_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/grants"
	"github.com/queuebinding/queuebinding/test/rig"
)

// recorder passes on what the operator asks of SQS, and notes it by the queue that it is about. It answers for message move tasks,
// which the emulator has none of, and plays STS, which grants every role.
type recorder struct {
	sqs, sts *httptest.Server

	mu sync.Mutex
	// actions are those that requests took, by the queue's name.
	actions map[string][]string
	// sessions are the requests for roles.
	sessions []url.Values
}

func newRecorder() *recorder {
	GinkgoHelper()
	r := &recorder{actions: map[string][]string{}}
	endpoint, err := url.Parse(cluster.SQSEndpoint)
	Expect(err).NotTo(HaveOccurred())
	proxy := &httputil.ReverseProxy{
		Rewrite:  func(p *httputil.ProxyRequest) { p.SetURL(endpoint) },
		ErrorLog: log.New(GinkgoWriter, "", 0), // of polls that the operator's end cuts
	}
	r.sqs = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) { r.note(w, request, proxy) }))
	r.sts = httptest.NewServer(http.HandlerFunc(r.assumeRole))
	DeferCleanup(func() {
		r.sqs.Close()
		r.sts.Close()
	})
	return r
}

func (r *recorder) note(w http.ResponseWriter, request *http.Request, emulator http.Handler) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	var input struct {
		URL    string `json:"QueueUrl"`
		Name   string `json:"QueueName"`
		Source string `json:"SourceArn"`
	}
	_ = json.Unmarshal(body, &input)
	action := strings.TrimPrefix(request.Header.Get("X-Amz-Target"), "AmazonSQS.")
	about := input.Name
	if input.URL != "" {
		about = path.Base(input.URL)
	} else if input.Source != "" {
		about = input.Source[strings.LastIndexByte(input.Source, ':')+1:]
	}
	r.mu.Lock()
	// A batch needs the permission of what it is a batch of.
	r.actions[about] = append(r.actions[about], "sqs:"+strings.TrimSuffix(action, "Batch"))
	r.mu.Unlock()
	switch action {
	case "ListDeadLetterSourceQueues":
		fmt.Fprintf(w, `{"queueUrls": [%q]}`, strings.TrimSuffix(input.URL, "-dead-letter"))
	case "ListMessageMoveTasks", "StartMessageMoveTask":
		fmt.Fprint(w, `{}`)
	default:
		emulator.ServeHTTP(w, request)
	}
}

func (r *recorder) assumeRole(w http.ResponseWriter, request *http.Request) {
	Expect(request.ParseForm()).To(Succeed())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = append(r.sessions, request.Form)
	fmt.Fprint(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
		<AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
		<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
}

// asked are the actions on a queue, each once.
func (r *recorder) asked(queue string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(r.actions[queue])))
}

// assumed are the actions on roles that the requests for sessions need, each once, by what they hold.
func (r *recorder) assumed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var actions []string
	for _, session := range r.sessions {
		actions = append(actions, "sts:"+session.Get("Action"))
		if session.Has("SourceIdentity") {
			actions = append(actions, "sts:SetSourceIdentity")
		}
		if session.Has("Tags.member.1.Key") {
			actions = append(actions, "sts:TagSession")
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(actions)))
}

// Besides what the operator asks for, SQS itself receives and deletes what it moves and sends it to the queue, by the rights of who
// started that; and it uses the queue's key, for which the operator makes no requests.
var _ = Describe("The requests to AWS", Ordered, ContinueOnFailure, func() {
	var recorded *recorder

	BeforeAll(func(ctx SpecContext) {
		install(ctx)
		operator.Kill()
		recorded = newRecorder()
		kubeconfig, err := cluster.KubeconfigOf(ctx, rig.System, rig.OperatorAccount)
		Expect(err).NotTo(HaveOccurred())
		mode, err := cluster.StartOperator(filepath.Join(cluster.Work, "manager"), cluster.DirectEndpoints("recorded",
			"KUBECONFIG="+kubeconfig, "AWS_ENDPOINT_URL_SQS="+recorded.sqs.URL, "AWS_ENDPOINT_URL_STS="+recorded.sts.URL), "--namespace="+rig.System)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx SpecContext) {
			mode.Kill()
			operator = startOperator(ctx)
		})
		createNamespace(ctx, "aws", map[string]string{v1alpha1.AnnotationAllowedRoles: "arn:aws:iam::000000000000:role/pings"})
	})

	DescribeTable("are those that config/aws grants, and all of them:",
		func(ctx SpecContext, name string, acknowledge v1alpha1.Acknowledge, statements ...string) {
			suffix := ""
			if strings.HasSuffix(name, ".fifo") {
				suffix = ".fifo"
			}
			dead := strings.TrimSuffix(name, suffix) + "-dead-letter" + suffix
			_, err := cluster.CreateQueue(ctx, dead, "", 0)
			Expect(err).NotTo(HaveOccurred())
			queue, err := cluster.CreateQueue(ctx, name, dead, 100)
			Expect(err).NotTo(HaveOccurred())
			binding := rig.Binding("aws", strings.ReplaceAll(name, ".", "-"), queue.URL)
			binding.Spec.Acknowledge = acknowledge
			binding.Spec.Queue.Credentials = &v1alpha1.Credentials{RoleARN: "arn:aws:iam::000000000000:role/pings"}
			Expect(k8s.Create(ctx, binding)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, binding)).To(Succeed()) })

			// One that fails, one that succeeds, and one that is no message for the binding; each in a group of its own.
			for i, body := range []string{rig.Body(1, "this.is.invalid", 1), rig.Body(2, "127.0.0.1", 1), `{}`} {
				_, err := queue.SendTo(ctx, fmt.Sprint(i), body, nil)
				Expect(err).NotTo(HaveOccurred())
			}
			Eventually(status(ctx, binding)).Should(And(HaveField("FailedJobs", HaveValue(BeNumerically(">=", 1))), HaveField("SucceededJobs", HaveValue(Equal(int32(1)))), HaveField("LastRejection", Not(BeNil()))))
			Expect(patch(&k8s, binding, `{"metadata": {"annotations": {"queuebinding.dev/requeue": "all"}}}`)(ctx)).To(Succeed())

			granted := granted()
			var onQueue, onDeadLetter []string
			for _, statement := range statements {
				Expect(granted).To(HaveKey(statement))
				if statement == "Queue" {
					onQueue = granted[statement]
				} else {
					onDeadLetter = append(onDeadLetter, granted[statement]...)
				}
			}
			var bySQS, bySQSThere []string
			if acknowledge == v1alpha1.AcknowledgeOnJobSucceeded {
				bySQS, bySQSThere = []string{"sqs:ReceiveMessage", "sqs:DeleteMessage"}, []string{"sqs:SendMessage"}
			}
			Eventually(func() []string { return unique(recorded.asked(name), bySQSThere) }).Should(Equal(unique(onQueue)))
			Eventually(func() []string { return unique(recorded.asked(dead), bySQS) }).Should(Equal(unique(onDeadLetter)))
		},
		Entry("under OnJobCreated", "created", v1alpha1.AcknowledgeOnJobCreated, "Queue", "DeadLetterCount"),
		Entry("under OnJobSucceeded", "succeeded", v1alpha1.AcknowledgeOnJobSucceeded, "Queue", "DeadLetterCount", "DeadLetterRedrive"),
		Entry("under OnJobCreated, FIFO", "created.fifo", v1alpha1.AcknowledgeOnJobCreated, "Queue", "DeadLetterCount"),
		Entry("under OnJobSucceeded, FIFO", "succeeded.fifo", v1alpha1.AcknowledgeOnJobSucceeded, "Queue", "DeadLetterCount", "DeadLetterRedrive"),
	)

	It("for sessions are those that trust policies grant, but for the tags of EKS Pod Identity, which STS adds", func() {
		granted := granted()
		Expect(unique(recorded.assumed(), []string{"sts:TagSession"})).To(Equal(unique(granted["Assume"], granted["NameSession"])))
	})
})

// granted is what the CloudFormation template grants, which TestTemplatesGrantWhatIsAskedFor holds the Terraform module to as well.
func granted() map[string][]string {
	GinkgoHelper()
	statements, err := grants.OfCloudFormation(filepath.Join(cluster.Root, "config", "aws", "cloudformation.yaml"))
	Expect(err).NotTo(HaveOccurred())
	return statements
}

func unique(actions ...[]string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(actions...))))
}
