package manager

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/cache"
)

func TestOnlyTheLoopbackInterfaceServesProfiles(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:6060": true, "127.1.2.3:6060": true, "[::1]:6060": true, "localhost:6060": true,
		":6060": false, "0.0.0.0:6060": false, "[::]:6060": false, "10.0.0.1:6060": false, "example.com:6060": false,
		"localhost.example.com:6060": false, "6060": false, "": false, "127.0.0.1": false,
	} {
		if err := checkLoopback(address); (err == nil) != want {
			t.Errorf("%q: %v, want accepted: %v", address, err, want)
		}
	}
	// Refused before anything listens, or is added to a manager.
	if err := ServeDebug(nil, "0.0.0.0:0", nil); !errors.Is(err, errNotLoopback) {
		t.Errorf("got %v", err)
	}
	if err := ServeDebug(nil, "0", nil); err != nil {
		t.Errorf("turned off: %v", err)
	}
}

// A page in a browser that has its own name resolved to 127.0.0.1 gets nothing.
func TestPagesOfOthersAreRefused(t *testing.T) {
	handler := ownPagesOnly(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for host, want := range map[string]int{
		"127.0.0.1:6060": http.StatusOK, "localhost:1234": http.StatusOK, "localhost": http.StatusOK, "[::1]:6060": http.StatusOK,
		"evil.example:6060": http.StatusForbidden, "10.0.0.1:6060": http.StatusForbidden, "": http.StatusForbidden,
	} {
		request := httptest.NewRequest(http.MethodGet, "/statusz", nil)
		request.Host = host
		answer := httptest.NewRecorder()
		if handler.ServeHTTP(answer, request); answer.Code != want {
			t.Errorf("%q: %d, want %d", host, answer.Code, want)
		}
	}
}

// filling is a cache that is being filled.
type filling struct {
	cache.Cache
	full bool
}

func (f *filling) WaitForCacheSync(ctx context.Context) bool {
	if !f.full {
		<-ctx.Done()
	}
	return f.full
}

func TestAProcessIsReadyWhenItsCachesAreFilled(t *testing.T) {
	caches := &filling{}
	ready := cachesSynced(caches)
	request := httptest.NewRequest(http.MethodGet, "/readyz", nil)
	if ready(request) == nil {
		t.Error("it is ready before")
	}
	caches.full = true
	if err := ready(request); err != nil {
		t.Errorf("it is not ready after: %v", err)
	}
}
