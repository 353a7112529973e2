// Package rig is what tests of the built operator stand on: a cluster and a queue, and the operator as a process whose
// requests can be broken. It uses none of the operator's own code but its API.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// Cluster is a control plane with simulated nodes and an SQS emulator.
type Cluster struct {
	*testenv.Environment
	// Client is an administrator's. It does not pass any fault proxy.
	Client client.WithWatch
	// Root is the repository's root.
	Root string
	// Work is a folder for programs, kubeconfigs and logs. Stop leaves it, End removes it where nobody needs it.
	Work string
}

// StartCluster starts a cluster, with neighbours such as [testenv.Karpenter] where they are named, and installs the CRD.
// What has to be built first is told to progress.
func StartCluster(ctx context.Context, progress io.Writer, neighbours ...string) (*Cluster, error) {
	cluster, err := StartEmptyCluster(progress, neighbours...)
	if err != nil {
		return nil, err
	}
	if err := cluster.InstallCRDs(); err != nil {
		return nil, errors.Join(err, cluster.End(true))
	}
	err = Await(ctx, "the CRD", func() string { return Problem(cluster.Client.List(ctx, &v1alpha1.QueueBindingList{})) })
	if err != nil {
		return nil, errors.Join(err, cluster.End(true))
	}
	return cluster, nil
}

// StartEmptyCluster starts a cluster for a test that installs the CRD in a way of its own.
func StartEmptyCluster(progress io.Writer, neighbours ...string) (*Cluster, error) {
	log.SetLogger(logr.Discard()) // controller-runtime complains where nobody decides
	root, err := testenv.Root()
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "rig-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for logs: %w", err)
	}
	environment, err := testenv.Start(testenv.Options{Parts: append([]string{testenv.All}, neighbours...), Log: progress})
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, errors.Join(err, environment.Stop())
	}
	reached, err := client.NewWithWatch(environment.Config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reaching the API server: %w", err), environment.Stop())
	}
	return &Cluster{Environment: environment, Client: reached, Root: root, Work: work}, nil
}

// End stops the cluster, and removes what was logged unless it is to be kept.
func (c *Cluster) End(keep bool) error {
	err := c.Stop()
	if keep {
		return err
	}
	return errors.Join(err, os.RemoveAll(c.Work))
}

// CreateNamespace makes a namespace.
func (c *Cluster) CreateNamespace(ctx context.Context, name string) error {
	if err := c.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}
