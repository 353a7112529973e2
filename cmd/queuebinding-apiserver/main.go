// Command queuebinding-apiserver serves the requeue subresource of bindings. It writes down what is asked for, and the operator does
// it: so an operator that is down takes no API with it.
package main

import (
	"flag"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/queuebinding/queuebinding/internal/apiserver"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/manager"
)

// leaseName is the name of the Lease of the replica that rotates the certificate.
const leaseName = "apiserver.queuebinding.dev"

func main() {
	common := manager.Flags{Program: "queuebinding-apiserver"}
	var options apiserver.Options
	common.Bind(flag.CommandLine)
	flag.StringVar(&options.BindAddress, "bind-address", ":6443", "Address that the requeue subresource is served at.")
	flag.BoolVar(&options.RegisterLocally, "register-locally", false, "Outside the cluster, on the machine of its API server: register with it, until this process ends.")
	flag.Parse()
	if common.PrintVersion(os.Stdout) {
		return
	}
	common.SetLogger()
	manager.FollowMemoryLimit()

	if err := run(common, options); err != nil {
		ctrl.Log.Error(err, "The API server ended with an error")
		os.Exit(1)
	}
}

func run(common manager.Flags, options apiserver.Options) error {
	ctx := ctrl.SetupSignalHandler()
	mgr, err := common.New(ctx, leaseName, apiserver.Watches(), nil)
	if err != nil {
		return err
	}
	options.Namespace, options.Namespaces = common.Namespace, common.Namespaces
	if err := apiserver.SetupWithManager(mgr, events.NewRecorder(mgr.GetEventRecorder("queuebinding-apiserver")), options); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
