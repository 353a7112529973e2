package testenv

import (
	"context"
	"errors"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// A test that takes a part away has to find it gone, and find it again where it was, with what it held.
func TestPartsGoAndComeBack(t *testing.T) {
	env, err := Start(Options{Parts: []string{ControlPlane, Queue}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	}()
	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	read := func() error {
		_, err := client.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	if err := read(); err != nil {
		t.Fatalf("reading from a ready environment: %v", err)
	}

	if err := env.StopPart(APIServer); err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("reading from a stopped API server: got %v, want connection refused", err)
	}
	if err := env.StartPart(APIServer); err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil {
		t.Errorf("reading from the API server after its return: %v", err)
	}

	// What it is started with holds for that start only.
	for _, args := range [][]string{{"--runtime-config=autoscaling/v1=false", "--runtime-config=autoscaling/v2=true"}, nil} {
		if err := errors.Join(env.StopPart(APIServer), env.StartPart(APIServer, args...)); err != nil {
			t.Fatal(err)
		}
		_, err := client.Discovery().ServerResourcesForGroupVersion("autoscaling/v1")
		if served := !apierrors.IsNotFound(err); served != (args == nil) {
			t.Errorf("started with %q it answers %v to a request for autoscaling/v1", args, err)
		}
	}

	if err := env.PausePart(Queue); err != nil {
		t.Fatal(err)
	}
	impatient := http.Client{Timeout: 300 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	if response, err := impatient.Get(env.SQSEndpoint + "/health"); !os.IsTimeout(err) {
		if err == nil {
			response.Body.Close()
		}
		t.Errorf("asking a paused queue: got %v, want a timeout", err)
	}
	if err := env.ResumePart(Queue); err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(env.SQSEndpoint + "/health")
	if err != nil {
		t.Fatalf("asking the queue after its return: %v", err)
	}
	response.Body.Close()

	if err := env.StopPart("nothing"); err == nil {
		t.Error("stopping a part that does not exist: got no error")
	}
}
