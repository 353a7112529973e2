package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const (
	devenvctl = "bin/devenvctl"
	// statusDown is the exit code by which `devenvctl status` says that nothing runs.
	statusDown = 1
)

// environment is the cluster and the SQS emulator that the walk uses.
type environment struct {
	shell *shell
	// found tells that it, or a part of it, was up before, so that it is someone else's to end.
	found bool
	// autoscaled tells that Karpenter is to belong to it and, once it is up, that it does.
	autoscaled bool
}

// bringUp makes sure that the environment is up and gives the shell its variables.
func (e *environment) bringUp(ctx context.Context) error {
	_, err := e.shell.ask(ctx, devenvctl+" status")
	var exit *exec.ExitError
	switch {
	case err == nil:
		e.found = true
		e.shell.page.say("The development environment is up already. The demo uses it and leaves it up.\n")
	case errors.As(err, &exit) && exit.ExitCode() == statusDown:
	case errors.As(err, &exit):
		// Half of one, or one that is starting: `up` says what to do about it.
		e.found = true
	default:
		return err
	}
	up := "make devenv-up"
	if e.autoscaled && !e.found {
		up += " PARTS=all,karpenter"
	}
	if _, err := e.shell.run(ctx, up); err != nil {
		return err
	}
	if err := e.shell.source(ctx, "bin/devenv/env"); err != nil {
		return err
	}
	if !e.autoscaled || !e.found {
		return nil
	}
	karpenter, err := e.shell.ask(ctx, "kubectl get crd nodepools.karpenter.sh --ignore-not-found -o name")
	if e.autoscaled = karpenter != ""; err == nil && !e.autoscaled {
		e.shell.page.say("\nLeft out: nodes that come and go. They need an environment with Karpenter: make devenv-up PARTS=all,karpenter")
	}
	return err
}

// isReal tells whether Pods have containers.
func (e *environment) isReal() bool { return e.shell.variable("DEVENV_NODE") == "real" }

// aboutPods says what a reader may take the Pods for.
func (e *environment) aboutPods() string {
	if e.isReal() {
		return "Pods run in REAL containers, by a kubelet, containerd and runc on this machine. The image\n" +
			"alpine:3.22 is a stand-in that holds Debian's busybox: nothing is downloaded."
	}
	return "Pods are SIMULATED: they start and end as real ones would, but no container runs and nothing\n" +
		"is pinged. A Pod \"succeeds\" after its duration and \"fails\" for hosts under .invalid.\n" +
		"NODE=real, on Linux and as root, runs real ones."
}

// client returns a client for the environment's API server.
func (e *environment) client() (client.WithWatch, error) {
	config, err := clientcmd.BuildConfigFromFlags("", e.shell.variable("KUBECONFIG"))
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	log.SetLogger(logr.Discard()) // controller-runtime complains where nobody decides
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}

// takeDown ends the environment if the demo started it.
func (e *environment) takeDown(ctx context.Context) error {
	if e.found {
		return nil
	}
	_, err := e.shell.run(ctx, "make devenv-down")
	return err
}
