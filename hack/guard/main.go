// Command guard runs another command that will reach a Kubernetes cluster and perhaps SQS. It prints which, and refuses
// all but the development environment's unless the context is named:
//
//	guard [-context NAME] -- command [argument…]
//
// The command gets a kubeconfig that holds the one context that was printed, so that it cannot reach another, whatever
// happens to the user's own file meanwhile.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	context := flag.String("context", "", "use this context of the kubeconfig, whichever cluster it is")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: guard [-context NAME] -- command [argument…]")
		os.Exit(2)
	}
	err := guard(*context, flag.Args())
	if err == nil {
		return
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		// The command has said itself what was wrong.
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "guard:", err)
	os.Exit(1)
}

func guard(context string, command []string) error {
	config, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	chosen, err := choose(*config, context, os.Getenv)
	if chosen.context != "" {
		fmt.Fprintf(os.Stderr, "Kube context: %s\nServer:       %s\nSQS:          %s\n", chosen.context, chosen.server, chosen.sqs)
	}
	if err != nil {
		return err
	}
	return run(chosen, command)
}

// run lets the command see the chosen target only, and passes on signals.
func run(chosen target, command []string) error {
	dir, err := os.MkdirTemp("", "queuebinding-guard-")
	if err != nil {
		return fmt.Errorf("making a place for the kubeconfig: %w", err)
	}
	defer os.RemoveAll(dir)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := clientcmd.WriteToFile(chosen.config, kubeconfig); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}

	// A second signal makes the operator stop at once instead of cleanly. So the command has a process group of its
	// own, which the terminal's Ctrl-C does not reach, and gets each signal once, from here.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	child := exec.Command(command[0], command[1:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.Env = append(os.Environ(), clientcmd.RecommendedConfigPathEnvVar+"="+kubeconfig)
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", command[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case err := <-ended:
			return err
		case received := <-signals:
			// An error means that it has just ended, which the other case tells.
			_ = child.Process.Signal(received)
		}
	}
}
