package devenv

import (
	"context"
	"fmt"
	"os"
	"strconv"
)

const kubeletConfiguration = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
# Not loopback, which no node's address may be. No other machine has a route to it.
address: %[1]s
port: %[2]d
healthzBindAddress: 127.0.0.1
healthzPort: %[3]d
readOnlyPort: 0
tlsCertFile: %[4]q
tlsPrivateKeyFile: %[5]q
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[6]q}
authorization: {mode: Webhook}
containerRuntimeEndpoint: %[7]q
podLogsDir: %[8]q
volumePluginDir: %[9]q
resolvConf: %[10]q
# Nobody listens there, in no Pod. Without an address each Pod would get a warning that it is missing.
clusterDNS: [127.0.0.1]
cgroupDriver: cgroupfs
cgroupRoot: %[11]q
# Machines of both kinds are in use.
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
# The machine's rules for packets are not ours.
makeIPTablesUtilChains: false
# An image that is taken away cannot be had again, and a full disk is not ours to tidy.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  memory.available: "0%%"
  nodefs.available: "0%%"
  nodefs.inodesFree: "0%%"
  imagefs.available: "0%%"
maxPods: 250
# The defaults would make this the bottleneck for Jobs of one second.
kubeAPIQPS: 500
kubeAPIBurst: 1000
eventRecordQPS: 0
logging:
  format: text
`

// kubeletPart is the kubelet.
func (r *realNode) kubeletPart() Part {
	return Part{
		Name:    "kubelet",
		Prepare: r.prepareKubelet,
		Ready: func(ctx context.Context, env *Environment) error {
			if err := env.answers(ctx, env.address("kubelet")+"/healthz", "ok"); err != nil {
				return err
			}
			return env.nodesReady(ctx, 1)
		},
	}
}

func (r *realNode) prepareKubelet(env *Environment) (Command, error) {
	port, err := env.ports.next()
	if err != nil {
		return Command{}, err
	}
	healthz, err := env.ports.next()
	if err != nil {
		return Command{}, err
	}
	env.addresses.Store("kubelet", "http://"+loopback(healthz))
	// Its own identity, with the rights that any node has.
	kubeconfig, err := env.login("kubelet", env.certificates.realNode)
	if err != nil {
		return Command{}, err
	}
	for _, dir := range []string{r.claim.PodLogs(), r.claim.Disk("kubelet")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return Command{}, fmt.Errorf("making a directory for the kubelet: %w", err)
		}
	}
	// No name is known and nobody is asked: Pods cannot reach the machine's resolver, and would wait for it.
	resolver := env.file("resolv.conf")
	if err := writeFile(resolver, nil); err != nil {
		return Command{}, err
	}
	config := env.file("kubelet.yaml")
	serving := env.certificates.serving
	if err := writeFile(config, fmt.Appendf(nil, kubeletConfiguration, r.claim.Address(), port, healthz, serving.certFile, serving.keyFile,
		env.certificates.ca.pair.certFile, "unix://"+r.socket(), r.claim.PodLogs(), r.claim.Disk("kubelet-plugins"), resolver,
		r.claim.CgroupRoot())); err != nil {
		return Command{}, err
	}
	return Command{
		Path: env.Layout.Asset("kubelet"),
		Args: []string{
			"--config=" + config,
			"--kubeconfig=" + kubeconfig,
			"--root-dir=" + r.claim.Disk("kubelet"),
			"--cert-dir=" + env.file("pki"),
			"--hostname-override=" + realNodeName,
			"--node-ip=" + r.claim.Address().String(),
			"--node-labels=topology.kubernetes.io/zone=zone-1",
		},
		Address: "https://" + r.claim.Address().String() + ":" + strconv.Itoa(port),
	}, nil
}
