package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// scriptedAPI answers as an API server with these objects and logs does, so that commands run whole: their requests, and what they make of
// errors. What an API server decides, such as rights, is scripted; test/apiserver has a real one.
type scriptedAPI struct {
	t *testing.T
	// objects by the path of their resource, such as /apis/batch/v1/namespaces/shop/jobs.
	objects map[string][]client.Object
	// logs by Pod and container, such as pings-1-a/work; with the suffix /previous that of the run before.
	logs map[string]string
	// forbidden are what paths begin with that the caller may not read.
	forbidden []string
}

// now is the time in tests.
var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// run runs the plugin against the API and returns what it printed and its exit code.
func (a *scriptedAPI) run(terminal bool, args ...string) (out, messages string, code int) {
	a.t.Helper()
	server := httptest.NewServer(a)
	defer server.Close()
	a.t.Setenv("KUBECONFIG", filepath.Join(a.t.TempDir(), "none"))
	var stdout, stderr bytes.Buffer
	env := &Env{
		IOStreams: genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &stdout, ErrOut: &stderr},
		Clock:     testingclock.NewFakeClock(now), OutTerminal: terminal,
	}
	code = Run(a.t.Context(), env, append([]string{"--server=" + server.URL, "--namespace=shop", "--cache-dir=" + a.t.TempDir()}, args...))
	return stdout.String(), stderr.String(), code
}

func (a *scriptedAPI) put(resource string, objects ...client.Object) {
	a.objects[resource] = append(a.objects[resource], objects...)
}

// ServeHTTP implements http.Handler.
func (a *scriptedAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, prefix := range a.forbidden {
		if strings.HasPrefix(r.URL.Path, prefix) {
			a.fail(w, http.StatusForbidden, metav1.StatusReasonForbidden, "not yours to read: "+r.URL.Path)
			return
		}
	}
	if answer, ok := discovery[r.URL.Path]; ok {
		a.answer(w, http.StatusOK, answer)
		return
	}
	if pod, ok := strings.CutSuffix(r.URL.Path, "/log"); ok {
		key := pod[strings.LastIndex(pod, "/")+1:] + "/" + r.URL.Query().Get("container")
		if r.URL.Query().Get("previous") == "true" {
			key += "/previous"
		}
		if log, ok := a.logs[key]; ok {
			_, _ = w.Write([]byte(log))
			return
		}
		a.fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, "no log of "+key+"\x1b[2J")
		return
	}
	if all, ok := a.objects[r.URL.Path]; ok {
		selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
		if err != nil {
			a.t.Error(err)
		}
		items := []client.Object{}
		for _, each := range all {
			if selector.Matches(labels.Set(each.GetLabels())) {
				items = append(items, each)
			}
		}
		kind := kinds[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
		a.answer(w, http.StatusOK, map[string]any{"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind + "List", "metadata": map[string]any{}, "items": items})
		return
	}
	resource, name := r.URL.Path[:strings.LastIndex(r.URL.Path, "/")], r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	for _, each := range a.objects[resource] {
		if each.GetName() == name {
			each.GetObjectKind().SetGroupVersionKind(kinds[resource[strings.LastIndex(resource, "/")+1:]])
			a.answer(w, http.StatusOK, each)
			return
		}
	}
	a.fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, r.URL.Path+" not found")
}

func (a *scriptedAPI) answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		a.t.Error(err)
	}
}

func (a *scriptedAPI) fail(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	a.answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	})
}

// kinds are those that the API serves, by resource.
var kinds = map[string]schema.GroupVersionKind{
	"queuebindings": v1alpha1.GroupVersion.WithKind("QueueBinding"),
	"jobs":          batchv1.SchemeGroupVersion.WithKind("Job"),
	"pods":          corev1.SchemeGroupVersion.WithKind("Pod"),
	"deployments":   appsv1.SchemeGroupVersion.WithKind("Deployment"),
	"events":        eventsv1.SchemeGroupVersion.WithKind("Event"),
	"secrets":       corev1.SchemeGroupVersion.WithKind("Secret"),
}

// discovery is what the API tells of itself.
var discovery = func() map[string]any {
	answers := map[string]any{
		"/version": map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.1"},
		"/api":     metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}},
	}
	groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}}
	resources := map[schema.GroupVersion][]metav1.APIResource{}
	for resource, kind := range kinds {
		version := kind.GroupVersion()
		resources[version] = append(resources[version], metav1.APIResource{
			Name: resource, SingularName: strings.ToLower(kind.Kind), Namespaced: true, Kind: kind.Kind, Verbs: metav1.Verbs{"get", "list"},
		})
	}
	for version, list := range resources {
		path := "/apis/" + version.String()
		if version.Group == "" {
			path = "/api/v1"
		} else {
			told := metav1.GroupVersionForDiscovery{GroupVersion: version.String(), Version: version.Version}
			groups.Groups = append(groups.Groups, metav1.APIGroup{Name: version.Group, Versions: []metav1.GroupVersionForDiscovery{told}, PreferredVersion: told})
			answers["/apis/"+version.Group] = groups.Groups[len(groups.Groups)-1]
		}
		answers[path] = metav1.APIResourceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: version.String(), APIResources: list}
	}
	answers["/apis"] = groups
	return answers
}()
