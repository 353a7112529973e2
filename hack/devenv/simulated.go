package devenv

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	simulatedNodes = 2
	// simulatedLabel marks our nodes; kwok plays no others.
	simulatedLabel = "devenv.queuebinding.dev/simulated"
)

// stages say what happens to simulated nodes and Pods, and when.
//
//go:embed stages.yaml
var stages string

// logsConfiguration makes every container of every Pod have the same log.
const logsConfiguration = `apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterLogs
metadata:
  name: simulated
spec:
  logs:
  - logsFile: %[1]q
    previousLogsFile: %[1]q
---
`

// simulatedLog is what kubectl logs shows. Nobody should take an outcome here for that of a real container.
var simulatedLog = []string{
	"This Pod is simulated: no container runs here.",
	"It ends after as many seconds as its environment variable `duration` says, by default one.",
	"It fails where its environment variable `target` is a host below .invalid, as a ping would.",
}

// simulated plays Pods with kwok: they get a status as if they ran.
type simulated struct {
	// nodes is how many there are from the beginning. It plays all that bear [simulatedLabel].
	nodes int
}

// SimulatedNode returns nodes whose Pods only have a status.
func SimulatedNode() Node { return simulated{simulatedNodes} }

func (simulated) Programs() []string { return []string{"kwok"} }

func (simulated) Kind() NodeKind { return Simulated }

// Claim takes nothing. No packet is ever sent to these addresses.
func (simulated) Claim(string) (Network, error) {
	return Network{Services: netip.MustParsePrefix("10.96.0.0/16")}, nil
}

func (s simulated) Parts() []Part {
	return []Part{{
		Name:    "kwok",
		Prepare: s.prepare,
		Ready: func(ctx context.Context, env *Environment) error {
			if err := env.answers(ctx, env.address("kwok")+"/healthz", ""); err != nil {
				return err
			}
			if err := s.register(ctx, env); err != nil {
				return err
			}
			return env.nodesReady(ctx, s.nodes)
		},
	}}
}

func (simulated) prepare(env *Environment) (Command, error) {
	port, err := env.ports.next()
	if err != nil {
		return Command{}, err
	}
	address := "https://" + loopback(port)
	env.addresses.Store("kwok", address)
	kubeconfig, err := env.login("node", env.certificates.node)
	if err != nil {
		return Command{}, err
	}
	logFile := env.file("simulated-pod.log")
	if err := writeFile(logFile, []byte(containerLog(simulatedLog, time.Now()))); err != nil {
		return Command{}, err
	}
	config := env.file("kwok.yaml")
	if err := writeFile(config, []byte(fmt.Sprintf(logsConfiguration, logFile)+stages)); err != nil {
		return Command{}, err
	}
	return Command{
		Path: env.Layout.Asset("kwok"),
		Args: []string{
			"--config=" + config,
			"--kubeconfig=" + kubeconfig,
			"--manage-nodes-with-label-selector=" + simulatedLabel,
			"--node-ip=127.0.0.1",
			"--node-port=" + strconv.Itoa(port),
			"--server-address=" + loopback(port),
			"--tls-cert-file=" + env.certificates.serving.certFile,
			"--tls-private-key-file=" + env.certificates.serving.keyFile,
			"--cidr=10.128.0.0/16",
			"--node-lease-duration-seconds=40",
		},
		Address: address,
	}, nil
}

// register makes the nodes. They stay when kwok is started again.
func (s simulated) register(ctx context.Context, env *Environment) error {
	client, err := env.client()
	if err != nil {
		return err
	}
	// Room for some thousand Pods at once; nothing is really used.
	room := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("4Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("4Ti"),
		corev1.ResourcePods:             resource.MustParse("5000"),
	}
	for i := range s.nodes {
		name := fmt.Sprintf("simulated-%d", i+1)
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{
				Name: name,
				Labels: map[string]string{
					simulatedLabel:           "true",
					corev1.LabelHostname:     name,
					corev1.LabelOSStable:     "linux",
					corev1.LabelArchStable:   "amd64",
					corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i+1),
				},
			},
			Status: corev1.NodeStatus{Capacity: room, Allocatable: room},
		}
		_, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("making node %s: %w", name, err)
		}
	}
	return nil
}

// containerLog writes lines as container runtimes do.
func containerLog(lines []string, at time.Time) string {
	var log strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&log, "%s stdout F %s\n", at.UTC().Format(time.RFC3339Nano), line)
	}
	return log.String()
}
