package devenv

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Context is the name of the context in every kubeconfig of an environment. Scripts refuse other contexts, so that a
// forgotten kubeconfig does not lead to a real cluster.
const Context = "devenv"

func writeKubeconfig(path, server string, caPEM []byte, user string, client keyPair) error {
	config := clientcmdapi.NewConfig()
	config.Clusters[Context] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: caPEM}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{
		ClientCertificateData: client.certPEM,
		ClientKeyData:         client.keyPEM,
	}
	config.Contexts[Context] = &clientcmdapi.Context{Cluster: Context, AuthInfo: user}
	config.CurrentContext = Context
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("writing a kubeconfig for %s: %w", user, err)
	}
	return writeFile(path, data)
}
