package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
)

// operator is a running operator whose own metrics and profiles can be read.
type operator struct {
	*process.Process
	metrics, pprof string
}

func (s *suite) startOperator(ctx context.Context, name string, endpoints *rig.Endpoints, more ...string) (*operator, error) {
	metrics, err := rig.FreeAddress()
	if err != nil {
		return nil, err
	}
	pprof, err := rig.FreeAddress()
	if err != nil {
		return nil, err
	}
	args := []string{"--zap-devel=false", "--metrics-bind-address=" + metrics.String(), "--metrics-secure=false"}
	if s.profiles != "" {
		args = append(args, "--debug-bind-address="+pprof.String())
	}
	running, err := s.StartOperator(s.program, endpoints, append(args, more...)...)
	if err != nil {
		return nil, err
	}
	started := &operator{Process: running, metrics: "http://" + metrics.String() + "/metrics", pprof: "http://" + pprof.String() + "/debug/pprof/"}
	err = rig.Await(ctx, "operator "+name, func() string {
		if err := started.Alive(); err != nil {
			return fmt.Sprintf("%v, see %s", err, started.Log)
		}
		_, err := started.scrape(ctx)
		return rig.Problem(err)
	})
	if err != nil {
		started.Kill()
		return nil, err
	}
	return started, nil
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return response.Body, nil
}

// scrape reads the operator's metrics: values by name and labels, as they are written.
func (o *operator) scrape(ctx context.Context) (map[string]float64, error) {
	body, err := get(ctx, o.metrics)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(body); lines.Scan(); {
		end := strings.LastIndexByte(lines.Text(), ' ')
		if value, err := strconv.ParseFloat(lines.Text()[end+1:], 64); end > 0 && err == nil {
			values[lines.Text()[:end]] = value
		}
	}
	return values, nil
}

// reconciles are how long the operator's reconciles of bindings took, since before: how many there were, their mean, and a bound
// that 99 of 100 keep, all in milliseconds.
func reconciles(before, after map[string]float64) (n, mean, p99 float64) {
	const name = "controller_runtime_reconcile_time_seconds"
	delta := func(series string) float64 { return after[series] - before[series] }
	n = delta(name + `_count{controller="queuebinding"}`)
	mean = 1000 * delta(name+`_sum{controller="queuebinding"}`) / n
	p99 = math.Inf(1)
	for series := range after {
		_, le, ok := strings.Cut(series, name+`_bucket{controller="queuebinding",le="`)
		bound, err := strconv.ParseFloat(strings.TrimSuffix(le, `"}`), 64)
		if ok && err == nil && delta(series) >= 0.99*n {
			p99 = min(p99, 1000*bound)
		}
	}
	return n, mean, p99
}

// profile writes one of the operator's profiles where profiles are asked for. One of the CPU takes seconds.
func (s *suite) profile(ctx context.Context, o *operator, kind, as string) error {
	if s.profiles == "" {
		return nil
	}
	body, err := get(ctx, o.pprof+kind)
	if err != nil {
		return fmt.Errorf("reading a profile: %w", err)
	}
	defer body.Close()
	file, err := os.Create(filepath.Join(s.profiles, as+".pprof"))
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, body); err != nil {
		return fmt.Errorf("reading a profile: %w", err)
	}
	return nil
}

// profileLater has a profile written while something else goes on, if it is wanted, and tells when that is done.
func (s *suite) profileLater(ctx context.Context, o *operator, kind, as string, wanted bool) <-chan error {
	done := make(chan error, 1)
	if !wanted {
		done <- nil
		return done
	}
	go func() { done <- s.profile(ctx, o, kind, as) }()
	return done
}
