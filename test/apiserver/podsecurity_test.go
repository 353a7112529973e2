package apiserver_test

import (
	"errors"
	"io"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The API server's own admission judges the Pods, in the namespace of config/default, which asks it to.
var _ = Describe("Pod Security", func() {
	// admit has the API server judge a Pod of a Deployment, after a change, without storing it.
	admit := func(ctx SpecContext, deployment *appsv1.Deployment, change func(*corev1.PodSpec)) error {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: deployment.Namespace, GenerateName: deployment.Name + "-", Labels: deployment.Spec.Template.Labels},
			Spec:       *deployment.Spec.Template.Spec.DeepCopy(),
		}
		change(&pod.Spec)
		return k8s.Create(ctx, pod, client.DryRunAll)
	}

	It("takes the Pods of both Deployments as restricted, and none that may do more", func(ctx SpecContext) {
		installed := deployments(ctx)
		Expect(installed).To(HaveLen(2))
		for _, deployment := range installed {
			Expect(admit(ctx, deployment, func(*corev1.PodSpec) {})).To(Succeed(), deployment.Name)
			container := deployment.Spec.Template.Spec.Containers[0]
			Expect(container.SecurityContext.ReadOnlyRootFilesystem).To(HaveValue(BeTrue()), deployment.Name) // which restricted does not ask for
			for want, change := range map[string]func(*corev1.PodSpec){
				"runAsNonRoot":             func(spec *corev1.PodSpec) { spec.SecurityContext.RunAsNonRoot = nil },
				"seccompProfile":           func(spec *corev1.PodSpec) { spec.SecurityContext.SeccompProfile = nil },
				"allowPrivilegeEscalation": func(spec *corev1.PodSpec) { spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil },
				"unrestricted capabilities": func(spec *corev1.PodSpec) {
					spec.Containers[0].SecurityContext.Capabilities = nil
				},
				"host namespaces": func(spec *corev1.PodSpec) { spec.HostNetwork = true },
				"restricted volume types": func(spec *corev1.PodSpec) {
					spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
				},
			} {
				Expect(admit(ctx, deployment, change)).To(MatchError(And(
					ContainSubstring(`violates PodSecurity "restricted:latest"`), ContainSubstring(want))), deployment.Name)
			}
		}
	})
})

// deployments are those of config/default.
func deployments(ctx SpecContext) []*appsv1.Deployment {
	GinkgoHelper()
	var found []*appsv1.Deployment
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(kubectl(ctx, "kustomize", filepath.Join(cluster.Root, "config", "default"))), 4096)
	for {
		deployment := &appsv1.Deployment{}
		err := decoder.Decode(deployment)
		if errors.Is(err, io.EOF) {
			return found
		}
		Expect(err).NotTo(HaveOccurred())
		if deployment.Kind == "Deployment" {
			found = append(found, deployment)
		}
	}
}
