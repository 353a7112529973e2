package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Firing is an alert as the Alertmanager has it.
type Firing struct {
	Alert, Namespace, Name string
}

func (f Firing) String() string {
	if f.Name == "" {
		return f.Alert
	}
	return fmt.Sprintf("%s of %s/%s", f.Alert, f.Namespace, f.Name)
}

// watch follows what the Alertmanager shows, and tells what comes and goes.
type watch struct {
	url  string
	out  io.Writer
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	began time.Time
	now   map[Firing]bool
	ever  map[Firing]bool
	err   error
}

func watchAlerts(url string, out io.Writer) *watch {
	ctx, stop := context.WithCancel(context.Background())
	w := &watch{url: url, out: out, stop: stop, done: make(chan struct{}), began: time.Now(), now: map[Firing]bool{}, ever: map[Firing]bool{}}
	go w.run(ctx)
	return w
}

func (w *watch) end() {
	w.stop()
	<-w.done
}

func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		firing, err := w.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		w.see(firing, err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// see compares what fires with what fired, and tells of the difference.
func (w *watch) see(firing map[Firing]bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err = err; err != nil {
		return
	}
	at := time.Since(w.began).Round(time.Second)
	for _, each := range sorted(firing) {
		if !w.now[each] {
			fmt.Fprintf(w.out, "%4s  fired  %s\n", at, each)
		}
		w.ever[each] = true
	}
	for _, each := range sorted(w.now) {
		if !firing[each] {
			fmt.Fprintf(w.out, "%4s  ended  %s\n", at, each)
		}
	}
	w.now = firing
}

func sorted(firing map[Firing]bool) []Firing {
	return slices.SortedFunc(maps.Keys(firing), func(a, b Firing) int { return strings.Compare(a.String(), b.String()) })
}

// ask returns what the Alertmanager shows as firing.
func (w *watch) ask(ctx context.Context) (map[Firing]bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/api/v2/alerts?active=true", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the Alertmanager: %w", err)
	}
	defer response.Body.Close()
	var alerts []struct{ Labels map[string]string }
	if err := json.NewDecoder(response.Body).Decode(&alerts); err != nil {
		return nil, fmt.Errorf("asking the Alertmanager: %w", err)
	}
	firing := map[Firing]bool{}
	for _, each := range alerts {
		firing[Firing{Alert: each.Labels["alertname"], Namespace: each.Labels["namespace"], Name: each.Labels["name"]}] = true
	}
	return firing, nil
}

// missing says that an alert does not fire, or nothing where it does.
func (w *watch) missing(alert, name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err.Error()
	}
	for each := range w.now {
		if each.Alert == alert && each.Name == name {
			return ""
		}
	}
	return fmt.Sprintf("%s does not fire, but %v", alert, sorted(w.now))
}

// left says what fires, or nothing where nothing does.
func (w *watch) left() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err.Error()
	}
	if len(w.now) > 0 {
		return fmt.Sprintf("%v still fire", sorted(w.now))
	}
	return ""
}

// all are the alerts that ever fired.
func (w *watch) all() []Firing {
	w.mu.Lock()
	defer w.mu.Unlock()
	return sorted(w.ever)
}
