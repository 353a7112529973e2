package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/queuebinding/queuebinding/internal/version"
)

// RegisterBuild registers a gauge that tells which build this is.
func RegisterBuild(registry prometheus.Registerer) error {
	info := version.Get()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, with labels that tell which build this is.",
		ConstLabels: prometheus.Labels{"version": info.Version, "commit": info.Commit, "goversion": info.Go},
	})
	gauge.Set(1)
	if err := registry.Register(gauge); err != nil {
		return fmt.Errorf("register the gauge of the build: %w", err)
	}
	return nil
}
