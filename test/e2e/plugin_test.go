package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var _ = Describe("Logs", func() {
	It("of failed Jobs are printed by the plugin, and those of the time before", func(ctx SpecContext) {
		plugin := filepath.Join(GinkgoT().TempDir(), "kubectl-queuebinding")
		built, err := exec.CommandContext(ctx, "go", "build", "-o", plugin, "github.com/queuebinding/queuebinding/cmd/kubectl-queuebinding").CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(built))
		w := newWorkspace(ctx)
		logs := func(args ...string) string {
			GinkgoHelper()
			cmd := exec.CommandContext(ctx, plugin, append([]string{"logs", "work", "-n", w.namespace}, args...)...)
			cmd.Env = append(os.Environ(), environment.Env...)
			output, err := cmd.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(output))
			return string(output)
		}

		binding := w.binding(ctx, busybox("sh", "-c", `echo "$QUEUEBINDING_MESSAGE_BODY"; echo why >&2; exit 1`), func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
		})
		first, second := w.send(ctx, "one", nil), w.send(ctx, "two", nil)
		Eventually(status(ctx, binding)).Should(counts(0, 0, 2))
		for id, body := range map[string]string{first: "one", second: "two"} {
			pod := w.podsOf(ctx, id)[0].Name
			prefix := "[" + pod + " work] "
			Expect(logs("--failed")).To(And(ContainSubstring(prefix+body+"\n"), ContainSubstring(prefix+"why\n")))
			Expect(logs("--job", w.jobs(ctx)[id].Name, "--tail", "1")).To(Equal(prefix + "why\n"))
		}
		Expect(logs("--failed", "--previous")).To(BeEmpty())
	})

	It("of the operator have more in them after a signal from a container beside it, as docs/logs.md has it", func() {
		custom := filepath.Join(GinkgoT().TempDir(), "custom.json")
		Expect(os.WriteFile(custom, []byte(`{"securityContext":{"runAsUser":65532}}`), 0o600)).To(Succeed())
		pod := strings.Fields(kubectl("get", "pods", "-n", system, "-l", "control-plane=controller-manager", "-o", "name"))[0]
		signal := func(name string) {
			kubectl("debug", "-n", system, pod, "--image=busybox:1.37", "--target=manager", "--profile=restricted", "--custom="+custom, "--", "kill", "-"+name, "1")
		}
		log := func() string { return kubectl("logs", "-n", system, pod, "-c", "manager") }
		signal("USR1")
		Eventually(log).Should(ContainSubstring(`"msg":"Changed the level of the log","logs":"debug"`))
		signal("USR2")
		Eventually(log).Should(ContainSubstring(`"msg":"Changed the level of the log","logs":"info"`))
	})
})
