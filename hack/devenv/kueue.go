package devenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// Kueue's own names for what its installation consists of.
const (
	kueueNamespace = "kueue-system"
	kueueService   = "kueue-webhook-service"
	kueueSecret    = "kueue-webhook-server-cert"
)

// kueue admits Jobs that name one of its queues, as quotas have room, and stops them for others of a higher priority. It
// runs with its webhooks, as an installation of it does, and has no integration but that of Jobs.
var kueue = neighbour{
	name:      "kueue",
	module:    "sigs.k8s.io/kueue",
	program:   "cmd/kueue",
	crds:      []string{"config/components/crd/bases"},
	manifests: []string{"config/components/webhook"},
	minutes:   3,
	needs:     []string{Controllers, Scheduler, Nodes},
	setUp:     setUpKueue,
	command:   kueueCommand,
	readiness: "/readyz",

	whileStarting: installKueue,
}

// kueueConfiguration leaves out what has ports on all addresses, and a lease, which is waited for after a crash.
const kueueConfiguration = `apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
namespace: %s
health: {healthProbeBindAddress: %q}
metrics: {bindAddress: %q}
webhook: {host: 127.0.0.1, port: %d, certDir: %q}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: true, webhookServiceName: %s, webhookSecretName: %s}
integrations: {frameworks: [batch/job]}
featureGates: {VisibilityOnDemand: false}
# The defaults, 20 and 30, would make it the bottleneck.
clientConnection: {qps: 2000, burst: 4000}
controller:
  groupKindConcurrency: {Job.batch: 5, Workload.kueue.x-k8s.io: 5}
`

func kueueCommand(env *Environment, probe int) (Command, error) {
	metrics, err := env.ports.next()
	if err != nil {
		return Command{}, err
	}
	webhook, err := env.ports.next()
	if err != nil {
		return Command{}, err
	}
	env.addresses.Store(kueueService, strconv.Itoa(webhook))
	config := env.file("kueue.yaml")
	err = writeFile(config, fmt.Appendf(nil, kueueConfiguration,
		kueueNamespace, loopback(probe), loopback(metrics), webhook, kueueCertificates(env), kueueService, kueueSecret))
	if err != nil {
		return Command{}, err
	}
	return Command{Args: []string{"--config=" + config}}, nil
}

func kueueCertificates(env *Environment) string { return env.file("pki", "kueue") }

// setUpKueue makes what its manager does not make for itself. The Service leads to the manager outside the cluster.
func setUpKueue(ctx context.Context, env *Environment) error {
	client, err := env.client()
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: kueueNamespace}}, metav1.CreateOptions{})
	if err == nil {
		_, err = client.CoreV1().Secrets(kueueNamespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: kueueSecret}}, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = client.CoreV1().Services(kueueNamespace).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: kueueService},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("making Kueue's namespace: %w", err)
	}
	return nil
}

// installKueue does what an installation does: it has the API server call Kueue's webhooks, and puts the certificate, which
// Kueue has made, where it waits for it.
func installKueue(ctx context.Context, env *Environment, manifests []*unstructured.Unstructured) error {
	port, err := strconv.ParseInt(env.address(kueueService), 10, 64)
	if err != nil {
		return fmt.Errorf("finding Kueue's webhooks: %w", err)
	}
	client, err := env.dynamicClient()
	if err != nil {
		return err
	}
	if err := registerKueueWebhooks(ctx, client, manifests, port); err != nil {
		return err
	}
	if err := convertKueueKinds(ctx, client, port); err != nil {
		return err
	}
	return mountKueueCertificate(ctx, env)
}

// mountKueueCertificate does what a kubelet does: it puts the certificate, which Kueue has made and waits for, where its
// Secret would be mounted.
func mountKueueCertificate(ctx context.Context, env *Environment) error {
	client, err := env.client()
	if err != nil {
		return err
	}
	secret, err := client.CoreV1().Secrets(kueueNamespace).Get(ctx, kueueSecret, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Kueue's certificate: %w", err)
	}
	if err := os.MkdirAll(kueueCertificates(env), 0o700); err != nil {
		return fmt.Errorf("writing Kueue's certificate: %w", err)
	}
	// Kueue goes on as soon as the last one is there.
	for _, name := range []string{corev1.TLSPrivateKeyKey, corev1.TLSCertKey} {
		data, path := secret.Data[name], filepath.Join(kueueCertificates(env), name)
		if len(data) == 0 {
			return errors.New("there is no certificate of Kueue yet")
		}
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("writing Kueue's certificate: %w", err)
		}
		if err := writeFile(path, data); err != nil {
			return err
		}
	}
	return nil
}

// registerKueueWebhooks applies those of Kueue's webhooks that are for Jobs and for its own kinds. The integrations that the
// others are for are off. Kueue adds the authority that signed its certificate.
func registerKueueWebhooks(ctx context.Context, client dynamic.Interface, manifests []*unstructured.Unstructured, port int64) error {
	for _, object := range manifests {
		resource, ok := map[string]string{
			"MutatingWebhookConfiguration":   "mutatingwebhookconfigurations",
			"ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
		}[object.GetKind()]
		if !ok {
			continue
		}
		if err := leadWebhooks(object, port); err != nil {
			return fmt.Errorf("reading Kueue's webhooks: %w", err)
		}
		_, err := client.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: resource}).
			Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err != nil {
			return fmt.Errorf("registering Kueue's webhooks: %w", err)
		}
	}
	return nil
}

// convertedKueueKinds are those that Kueue converts between their versions. It does not start before it could add its
// authority to each.
var convertedKueueKinds = []string{"clusterqueues", "cohorts", "localqueues", "multikueueclusters", "workloads"}

func convertKueueKinds(ctx context.Context, client dynamic.Interface, port int64) error {
	patch := fmt.Appendf(nil, `{"spec": {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], `+
		`"clientConfig": {"service": {"namespace": %q, "name": %q, "path": "/convert", "port": %d}}}}}}`, kueueNamespace, kueueService, port)
	for _, kind := range convertedKueueKinds {
		_, err := client.Resource(crdResource).Patch(ctx, kind+".kueue.x-k8s.io", types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			return fmt.Errorf("converting Kueue's kinds: %w", err)
		}
	}
	return nil
}

// leadWebhooks keeps of a configuration in Kueue's sources what is for Jobs and Kueue's own kinds, gives it the name that
// an installation has, and leads it to a port on this machine.
func leadWebhooks(configuration *unstructured.Unstructured, port int64) error {
	configuration.SetName("kueue-" + configuration.GetName())
	webhooks, _, err := unstructured.NestedSlice(configuration.Object, "webhooks")
	if err != nil {
		return err
	}
	var kept []any
	for _, each := range webhooks {
		webhook, _ := each.(map[string]any)
		rules, _, _ := unstructured.NestedSlice(webhook, "rules")
		for _, rule := range rules {
			rule, _ := rule.(map[string]any)
			groups, _, _ := unstructured.NestedStringSlice(rule, "apiGroups")
			if !slices.Contains(groups, "batch") && !slices.Contains(groups, "kueue.x-k8s.io") {
				continue
			}
			for field, value := range map[string]any{"namespace": kueueNamespace, "name": kueueService, "port": port} {
				if err := unstructured.SetNestedField(webhook, value, "clientConfig", "service", field); err != nil {
					return err
				}
			}
			kept = append(kept, webhook)
			break
		}
	}
	if len(kept) == 0 {
		return fmt.Errorf("%s has no webhook for Jobs", configuration.GetName())
	}
	return unstructured.SetNestedSlice(configuration.Object, kept, "webhooks")
}
