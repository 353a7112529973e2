package cli

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const (
	eventsPath      = "/apis/events.k8s.io/v1/namespaces/shop/events"
	deploymentsPath = "/apis/apps/v1/namespaces/queuebinding-system/deployments"
	programPodsPath = "/api/v1/namespaces/queuebinding-system/pods"
)

// canary begins every word that must not get into a bundle.
const canary = "canary-"

// telltale is a Pod with something to hide wherever it can be.
func telltale() corev1.PodSpec {
	container := corev1.Container{
		Name: "work", Image: "alpine:3", Command: []string{canary + "command"}, Args: []string{canary + "arg"}, WorkingDir: canary + "dir",
		Env: []corev1.EnvVar{{Name: "PASSWORD", Value: canary + "env"}, {Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{Key: canary + "key"},
		}}},
		Lifecycle:     &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{canary + "hook"}}}},
		LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{HTTPHeaders: []corev1.HTTPHeader{{Name: "a", Value: canary + "header"}}}}},
	}
	return corev1.PodSpec{
		Containers: []corev1.Container{container}, InitContainers: []corev1.Container{container},
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{VolumeAttributes: map[string]string{"a": canary + "volume"}}}}},
	}
}

// annotated are annotations that hold something to hide.
func annotated() map[string]string {
	return map[string]string{
		v1alpha1.AnnotationBody: canary + "body", v1alpha1.AnnotationAttributes: canary + "attributes", v1alpha1.AnnotationReceiptHandle: canary + "handle",
		"kubectl.kubernetes.io/last-applied-configuration": canary + "applied", v1alpha1.AnnotationAttempt: "3",
	}
}

// secretive is an API with words to hide in all that a bundle is made of.
func secretive(t *testing.T) *scriptedAPI {
	a := newScriptedAPI(t)
	b := a.objects[bindingsPath][0].(*v1alpha1.QueueBinding)
	b.Annotations = annotated()
	b.Spec.JobTemplate.Metadata.Annotations = annotated()
	b.Spec.JobTemplate.Spec.BackoffLimit = new(int32(4))
	b.Spec.JobTemplate.Spec.Template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: annotated()}, Spec: telltale()}
	b.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonJobInvalid, Message: canary + "webhook"},
		{Type: v1alpha1.ConditionQueueReachable, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAccessDenied, Message: "not authorized"},
		{Type: v1alpha1.ConditionPodsStarting, Status: metav1.ConditionFalse, Reason: "RunContainerError", Message: canary + "kubelet"},
	}
	b.Status.RecentFailures = []v1alpha1.Failure{{JobName: "pings-0", Message: canary + "failure", Container: &v1alpha1.ContainerEnd{ExitCode: new(int32(42)), Message: canary + "termination"}}}

	j := a.addJob("pings-0", time.Minute)
	maps.Copy(j.Annotations, annotated())
	j.Spec.Template = b.Spec.JobTemplate.Spec.Template
	j.Status.Conditions[0].Message = canary + "condition"
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "pings-0-a", Annotations: annotated(), Labels: map[string]string{batchv1.JobNameLabel: "pings-0", v1alpha1.LabelBinding: "pings"},
	}, Spec: telltale()}
	pod.Status.Message = canary + "status"
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Message: canary + "ready"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name:                 "work",
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "RunContainerError", Message: canary + "waiting"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", Message: canary + "terminated"}},
	}}
	a.put(podsPath, pod)
	a.logs["pings-0-a/work"] = canary + "log"
	a.put("/api/v1/namespaces/shop/secrets", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pings-0"}, Data: map[string][]byte{"a": []byte(canary + "secret")}})

	event := func(name string, uid, action, note, by string) *eventsv1.Event {
		e := &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "e-" + name + action, Annotations: annotated()}, Reason: "R-" + action, Action: action, Note: note, ReportingController: by}
		e.Regarding = corev1.ObjectReference{Name: name, UID: "uid"}
		if uid != "uid" {
			e.Regarding.UID = "another"
		}
		return e
	}
	a.put(eventsPath,
		event("pings", "uid", "Receive", "said by the operator", "queuebinding"), event("pings", "uid", "JobInvalid", canary+"note", "queuebinding"),
		event("pings", "uid", "Else", canary+"note", "webhook"), event("pings-0-a", "pod", "Started", canary+"note", "kubelet"),
		event("pings-0-a", "pod", "Pulled", canary+"note", "queuebinding"), event(canary+"neighbour", "pod", "Started", "x", "kubelet"))

	a.put(deploymentsPath, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "queuebinding-system", Name: "manager", Annotations: annotated(), Labels: map[string]string{programLabel: programName}},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "manager", Image: "operator:1", Args: []string{"--leader-elect"}, Env: []corev1.EnvVar{{Name: "AWS_SECRET_ACCESS_KEY", Value: canary + "aws"}},
		}}}}},
	})
	a.put(programPodsPath, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "queuebinding-system", Name: "manager-a", Labels: map[string]string{programLabel: programName}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "manager"}}},
	})
	a.logs["manager-a/manager"] = `{"msg":"Rejected a message","binding":"shop/pings"}
{"msg":"` + canary + `","binding":"bank/transfers"}
{"msg":"Started"}
` + canary + "panic\n"
	return a
}

// unpacked are the files of a bundle.
func unpacked(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	zipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(data)
	}
}

func TestABundleTellsWhatABugReportNeedsAndNoSecrets(t *testing.T) {
	a := secretive(t)
	path := filepath.Join(t.TempDir(), "bundle.tar.gz")
	out, messages, code := a.run(false, "debug", "bundle", "pings", "--file="+path)
	if code != 0 || out != path+"\n" || messages != "" {
		t.Fatalf("it ends with %d, prints %q and says %q", code, out, messages)
	}
	files := unpacked(t, path)
	for name, text := range files {
		for line := range strings.Lines(text) {
			if strings.Contains(line, canary) {
				t.Errorf("%s has %s", name, line)
			}
		}
		if name != "MANIFEST" && !strings.Contains(files["MANIFEST"], "- "+name+": ") {
			t.Errorf("the manifest does not name %s", name)
		}
	}
	for name, wants := range map[string][]string{
		"MANIFEST":                       {"QueueBinding shop/pings, 2026-11-25T12:00:00Z", "Left out this time:\n- nothing"},
		"versions.yaml":                  {"cluster: v1.37.1", "plugin: "},
		"binding.yaml":                   {"not authorized", "RunContainerError", "exitCode: 42", "name: PASSWORD", "backoffLimit: 4", "image: alpine:3"},
		"jobs.yaml":                      {"name: pings-0", "BackoffLimitExceeded", v1alpha1.AnnotationAttempt + `: "3"`},
		"pods.yaml":                      {"name: pings-0-a", "OOMKilled", "RunContainerError"},
		"events.yaml":                    {"said by the operator", "R-Started", "R-JobInvalid"},
		"operator/deployments.yaml":      {"image: operator:1", "--leader-elect", "AWS_SECRET_ACCESS_KEY"},
		"operator/pods.yaml":             {"name: manager-a"},
		"operator/manager-a-manager.log": {"Rejected a message", "Started"},
	} {
		for _, want := range wants {
			if !strings.Contains(files[name], want) {
				t.Errorf("%s does not have %q, but\n%s", name, want, files[name])
			}
		}
	}
	if _, messages, code := a.run(false, "debug", "bundle", "pings", "--file="+path); code != codeError || !strings.Contains(messages, "next: name another file") {
		t.Errorf("over a file that exists it ends with %d and says %q", code, messages)
	}
}

func TestABundleSaysWhatIsMissingForWantOfRights(t *testing.T) {
	a := secretive(t)
	a.forbidden = []string{deploymentsPath, programPodsPath, eventsPath}
	path := filepath.Join(t.TempDir(), "bundle.tar.gz")
	_, messages, code := a.run(false, "debug", "bundle", "pings", "--file="+path)
	files := unpacked(t, path)
	if code != 0 || files["jobs.yaml"] == "" {
		t.Errorf("it ends with %d and has %d files", code, len(files))
	}
	for _, name := range []string{"events.yaml", "operator/deployments.yaml", "operator/pods.yaml"} {
		if want := name + ": not yours to read"; !strings.Contains(files["MANIFEST"], want) || !strings.Contains(messages, "left out: "+want) {
			t.Errorf("it does not say %q, but %q, and the manifest\n%s", want, messages, files["MANIFEST"])
		}
	}
}

func TestABundleHasTheNewestJobsOnly(t *testing.T) {
	a := newScriptedAPI(t)
	for i := range bundledObjects + 20 {
		a.addJob(fmt.Sprintf("pings-%d", i), time.Minute).CreationTimestamp = metav1.NewTime(now.Add(time.Duration(i) * time.Second))
	}
	path := filepath.Join(t.TempDir(), "bundle.tar.gz")
	a.run(false, "debug", "bundle", "pings", "--file="+path)
	files := unpacked(t, path)
	if got := strings.Count(files["jobs.yaml"], "\n- metadata:") + 1; got != bundledObjects || strings.Contains(files["jobs.yaml"], "name: pings-19\n") {
		t.Errorf("it has %d Jobs", got)
	}
	if !strings.Contains(files["MANIFEST"], "jobs.yaml: the 20 oldest, beyond 500") {
		t.Errorf("the manifest says\n%s", files["MANIFEST"])
	}
}
