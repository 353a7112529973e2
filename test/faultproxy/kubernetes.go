package faultproxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// Kubernetes starts a proxy in front of an API server. The operator needs no credentials: the proxy has config's. With
// a namespace the operator sees only that one's objects where it lists and watches a whole cluster, so that several
// operators can share a cluster without sharing work.
func Kubernetes(config *rest.Config, namespace string, decide Decide) (*Proxy, error) {
	config = rest.CopyConfig(config)
	config.DisableCompression = true // what the operator asked for passes as it is
	client, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return start(config.Host, client, kubernetes{namespace}, decide)
}

type kubernetes struct{ namespace string }

// scoped are the resources that an operator reads across namespaces.
var scoped = []string{"jobs", "queuebindings", "secrets", "pods"}

// uncounted are the resources whose writes are no step of a message.
var uncounted = []string{"events", "leases", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews"}

// path is the path of an API request, taken apart.
type path struct {
	// prefix is the group and version, with slashes around: `/apis/batch/v1/`.
	prefix                                 string
	namespace, resource, name, subresource string
}

func parse(text string) path {
	parts := strings.Split(strings.Trim(text, "/"), "/")
	group := 3 // apis, group, version
	if parts[0] == "api" {
		group = 2
	}
	if len(parts) <= group {
		return path{}
	}
	p := path{prefix: "/" + strings.Join(parts[:group], "/") + "/"}
	rest := parts[group:]
	if rest[0] == "namespaces" && len(rest) > 2 {
		p.namespace, rest = rest[1], rest[2:]
	}
	for i, to := range []*string{&p.resource, &p.name, &p.subresource} {
		if i < len(rest) {
			*to = rest[i]
		}
	}
	return p
}

func (kubernetes) name(r *http.Request) Request {
	p, query := parse(r.URL.Path), r.URL.Query()
	verb := map[string]string{
		http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete", http.MethodGet: "get",
	}[r.Method]
	counts := verb != "" && p.resource != "" && !slices.Contains(uncounted, p.resource)
	if verb == "get" {
		switch {
		case query.Get("watch") != "":
			verb, counts = "watch", false
		case p.name == "":
			// A cache's list names a resourceVersion, or is a watch.
			verb, counts = "list", counts && p.resource == "jobs" && query.Get("resourceVersion") == ""
		default:
			counts = counts && slices.Contains(scoped, p.resource)
		}
	}
	name := verb + " " + p.resource
	if p.subresource != "" {
		name += "/" + p.subresource
	}
	if query.Get("dryRun") != "" {
		name += " (dry run)"
	}
	return Request{Name: name, Counts: counts}
}

func (k kubernetes) rewrite(r *http.Request, body []byte, _ Fault) []byte {
	p := parse(r.URL.Path)
	if k.namespace != "" && r.Method == http.MethodGet && p.namespace == "" && p.name == "" && slices.Contains(scoped, p.resource) {
		r.URL.Path = p.prefix + "namespaces/" + k.namespace + "/" + p.resource
		r.URL.RawPath = ""
	}
	return body
}

func (kubernetes) refuse(w http.ResponseWriter, status int) {
	refusal := apierrors.NewGenericServerResponse(status, "", schema.GroupResource{}, "", "refused by a test", 1, true).Status()
	refusal.Kind, refusal.APIVersion = "Status", "v1"
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal) // who has gone gets nothing
}
