package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// What config/default calls things.
const (
	System          = "queuebinding-system"
	OperatorAccount = "queuebinding-controller-manager"
	ServerAccount   = "queuebinding-apiserver"
)

// needPods are the kinds that need Pods.
var needPods = []string{"Deployment", "PodDisruptionBudget", "Service"}

// Install applies a kustomization of config/default for programs that run outside the cluster, with the server of the subresource at
// a port of this machine. It leaves out what needs Pods; instead of the Services one leads to that port. It returns once the API
// server serves bindings.
func (c *Cluster) Install(ctx context.Context, kustomization string, port int) error {
	manifests, err := c.Kubectl(ctx, "kustomize", filepath.Join(c.Root, kustomization))
	if err != nil {
		return err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("reading %s: %w", kustomization, err)
		}
		if slices.Contains(needPods, object.GetKind()) {
			continue
		}
		if object.GetKind() == "APIService" {
			if err := c.leadTo(ctx, object, port); err != nil {
				return err
			}
		}
		if err := c.Client.Create(ctx, object); err != nil {
			return fmt.Errorf("creating %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return Await(ctx, "the CRD", func() string { return Problem(c.Client.List(ctx, &v1alpha1.QueueBindingList{})) })
}

// leadTo makes the Service of an APIService lead to a port of this machine.
func (c *Cluster) leadTo(ctx context.Context, apiService *unstructured.Unstructured, port int) error {
	if err := unstructured.SetNestedField(apiService.Object, int64(port), "spec", "service", "port"); err != nil {
		return fmt.Errorf("setting the port of the APIService: %w", err)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: ServerAccount}}
	service.Spec.Type, service.Spec.ExternalName = corev1.ServiceTypeExternalName, "localhost"
	if err := c.Client.Create(ctx, service); err != nil {
		return fmt.Errorf("creating the Service of the subresource: %w", err)
	}
	return nil
}

// SubresourceAvailable reports whether the API server says that it reaches the requeue subresource.
func (c *Cluster) SubresourceAvailable(ctx context.Context) bool {
	said, err := c.Kubectl(ctx, "get", "apiservice", "v1alpha1.subresources.queuebinding.dev", "-o", `jsonpath={.status.conditions[?(@.type=="Available")].status}`)
	return err == nil && said == "True"
}

// KubeconfigOf writes a kubeconfig with the rights of a ServiceAccount, and returns its path.
func (c *Cluster) KubeconfigOf(ctx context.Context, namespace, account string) (string, error) {
	config, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		return "", fmt.Errorf("reading the administrator's kubeconfig: %w", err)
	}
	token, err := c.Kubectl(ctx, "create", "token", account, "-n", namespace)
	if err != nil {
		return "", err
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(token)}
	}
	path := filepath.Join(c.Work, namespace+"."+account+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return path, nil
}

// Kubectl runs kubectl as an administrator and returns its output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	command := c.Command(ctx, "kubectl", args...)
	var problem strings.Builder
	command.Stderr = &problem
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, problem.String())
	}
	return string(output), nil
}
