// Package autoscaling has a HorizontalPodAutoscaler drive a binding: the controller of Kubernetes, by the metrics that the built operator
// serves. Its tests have the rest.
package autoscaling

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// groupVersion is the API that HorizontalPodAutoscalers ask for external metrics.
const groupVersion = "external.metrics.k8s.io/v1beta1"

// Adapter serves external metrics from an operator's, as prometheus-adapter and others do from Prometheus. It scrapes at each request.
type Adapter struct {
	// MetricsURL is the operator's /metrics.
	MetricsURL string
}

// Start serves until close is called, and registers with the cluster's API server, which must be on this machine.
func (a *Adapter) Start(ctx context.Context, cluster client.Client) (stop func(), err error) {
	server := httptest.NewTLSServer(a)
	if err := register(ctx, cluster, server.URL); err != nil {
		server.Close()
		return nil, err
	}
	return server.Close, nil
}

// register makes the APIService, and the Service by which the API server comes here.
func register(ctx context.Context, cluster client.Client, address string) error {
	const name = "external-metrics"
	parsed, err := url.Parse(address)
	if err != nil {
		return err
	}
	port, err := strconv.ParseInt(parsed.Port(), 10, 64)
	if err != nil {
		return err
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}}
	service.Spec.Type, service.Spec.ExternalName = corev1.ServiceTypeExternalName, "localhost"
	group, version, _ := strings.Cut(groupVersion, "/")
	apiService := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": version + "." + group},
		"spec": map[string]any{
			"group": group, "version": version, "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
			"insecureSkipTLSVerify": true,
			"service":               map[string]any{"namespace": metav1.NamespaceDefault, "name": name, "port": port},
		},
	}}
	return errors.Join(cluster.Create(ctx, service), cluster.Create(ctx, apiService))
}

// ServeHTTP implements http.Handler.
func (a *Adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, isGroup := strings.CutPrefix(r.URL.Path, "/apis/"+groupVersion)
	if !isGroup {
		http.NotFound(w, r)
		return
	}
	parts := strings.Split(path, "/") // "", namespaces, a namespace, a metric
	if len(parts) != 4 {
		answer(w, metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: groupVersion,
			APIResources: []metav1.APIResource{{Name: "externalmetrics", Namespaced: true, Kind: "ExternalMetricValueList", Verbs: metav1.Verbs{"get"}}},
		})
		return
	}
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	values, err := a.values(r.Context(), parts[2], parts[3], selector)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(w, map[string]any{"kind": "ExternalMetricValueList", "apiVersion": groupVersion, "metadata": map[string]any{}, "items": values})
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object) // the client is gone
}

// values are those of a metric's series of a namespace that a selector matches.
func (a *Adapter) values(ctx context.Context, namespace, metric string, selector labels.Selector) ([]map[string]any, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.MetricsURL, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("scraping the operator: %w", err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the operator's metrics: %w", err)
	}
	values := []map[string]any{}
	for _, series := range families[metric].GetMetric() {
		set := labelsOf(series)
		if set["namespace"] != namespace || !selector.Matches(set) {
			continue
		}
		value := resource.NewMilliQuantity(int64(cmp.Or(series.GetGauge().GetValue(), series.GetCounter().GetValue())*1000), resource.DecimalSI)
		values = append(values, map[string]any{"metricName": metric, "metricLabels": set, "timestamp": metav1.Now(), "value": value.String()})
	}
	return values, nil
}

func labelsOf(series *dto.Metric) labels.Set {
	set := labels.Set{}
	for _, pair := range series.GetLabel() {
		set[pair.GetName()] = pair.GetValue()
	}
	return set
}
