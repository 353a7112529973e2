package devenv

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// etcdPart is the API server's store.
func etcdPart() Part {
	return Part{
		Name: "etcd",
		Prepare: func(env *Environment) (Command, error) {
			client, err := env.ports.next()
			if err != nil {
				return Command{}, err
			}
			peer, err := env.ports.next()
			if err != nil {
				return Command{}, err
			}
			env.etcdURL = "http://" + loopback(client)
			peerURL := "http://" + loopback(peer)
			args := []string{
				"--name=devenv",
				"--data-dir=" + env.file("etcd"),
				"--listen-client-urls=" + env.etcdURL,
				"--advertise-client-urls=" + env.etcdURL,
				"--listen-peer-urls=" + peerURL,
				"--initial-advertise-peer-urls=" + peerURL,
				"--initial-cluster=devenv=" + peerURL,
				"--log-level=warn",
			}
			if env.Fast {
				args = append(args, "--unsafe-no-fsync")
			}
			return Command{Path: env.Layout.Asset("etcd"), Args: args, Address: env.etcdURL}, nil
		},
		Ready: func(ctx context.Context, env *Environment) error {
			return env.answers(ctx, env.etcdURL+"/health", `"health":"true"`)
		},
	}
}

// auditPolicy records who asked what, without bodies, which may hold secrets. Leases and probes would only hide the rest,
// apart from the leases of ServiceAccounts: an operator that is installed, in whatever namespace, must be allowed to have one.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: Metadata
`

// apiServerPart is kube-apiserver, able to hand requests on to aggregated API servers.
func apiServerPart() Part {
	return Part{
		Name: "kube-apiserver",
		Prepare: func(env *Environment) (Command, error) {
			port, err := env.ports.next()
			if err != nil {
				return Command{}, err
			}
			env.apiURL = "https://" + loopback(port)
			if err := writeFile(env.file("audit-policy.yaml"), []byte(auditPolicy)); err != nil {
				return Command{}, err
			}
			certs := env.certificates
			if err := writeKubeconfig(env.kubeconfig(), env.apiURL, certs.ca.pair.certPEM, "devenv-admin", certs.admin); err != nil {
				return Command{}, err
			}
			args := []string{
				"--etcd-servers=" + env.etcdURL,
				"--bind-address=127.0.0.1",
				"--secure-port=" + strconv.Itoa(port),
				"--service-cluster-ip-range=" + env.network.Services.String(),
				"--allow-privileged=true",
				"--authorization-mode=Node,RBAC",
				"--cert-dir=" + env.file("pki"),
				"--tls-cert-file=" + certs.serving.certFile,
				"--tls-private-key-file=" + certs.serving.keyFile,
				"--client-ca-file=" + certs.ca.pair.certFile,
				"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
				"--service-account-key-file=" + certs.serviceAccountKey.keyFile,
				"--service-account-signing-key-file=" + certs.serviceAccountKey.keyFile,
				"--requestheader-client-ca-file=" + certs.proxyCA.pair.certFile,
				"--requestheader-allowed-names=" + proxyClientName,
				"--requestheader-username-headers=X-Remote-User",
				"--requestheader-group-headers=X-Remote-Group",
				"--requestheader-extra-headers-prefix=X-Remote-Extra-",
				"--proxy-client-cert-file=" + certs.proxy.certFile,
				"--proxy-client-key-file=" + certs.proxy.keyFile,
				"--kubelet-certificate-authority=" + certs.ca.pair.certFile,
				"--kubelet-client-certificate=" + certs.kubelet.certFile,
				"--kubelet-client-key=" + certs.kubelet.keyFile,
				// Node names do not resolve here.
				"--kubelet-preferred-address-types=InternalIP",
				"--audit-policy-file=" + env.file("audit-policy.yaml"),
				"--audit-log-path=" + env.file("audit.log"),
				"--audit-log-maxsize=100",
				"--audit-log-maxbackup=3",
			}
			if env.network.Address.IsValid() {
				args = append(args, "--advertise-address="+env.network.Address.String())
			} else {
				// The API server refuses to publish a loopback address as its own and would log an error for ever.
				args = append(args, "--endpoint-reconciler-type=none")
			}
			if !env.has(Controllers) {
				// Nobody makes the service accounts that Pods would have to have.
				args = append(args, "--disable-admission-plugins=ServiceAccount")
			}
			return Command{Path: env.Layout.Asset("kube-apiserver"), Args: args, Address: env.apiURL}, nil
		},
		Ready: func(ctx context.Context, env *Environment) error {
			if err := env.answers(ctx, env.apiURL+"/readyz", "ok"); err != nil {
				return err
			}
			client, err := env.client()
			if err != nil {
				return err
			}
			// Made by the API server itself, but not before it says that it is ready.
			if _, err := client.CoreV1().Namespaces().Get(ctx, corev1.NamespaceDefault, metav1.GetOptions{}); err != nil {
				return fmt.Errorf("looking for the default namespace: %w", err)
			}
			return nil
		},
	}
}

// loopbackServer chooses a port for a part that serves HTTPS on it and returns the flags for that.
func (e *Environment) loopbackServer(name string) (address string, flags []string, err error) {
	port, err := e.ports.next()
	if err != nil {
		return "", nil, err
	}
	address = "https://" + loopback(port)
	e.addresses.Store(name, address)
	return address, []string{
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + e.certificates.serving.certFile,
		"--tls-private-key-file=" + e.certificates.serving.keyFile,
	}, nil
}

// login writes a kubeconfig for a part and returns its path.
func (e *Environment) login(user string, pair keyPair) (string, error) {
	path := filepath.Join(e.Dir, "pki", user+".kubeconfig")
	return path, writeKubeconfig(path, e.apiURL, e.certificates.ca.pair.certPEM, user, pair)
}
