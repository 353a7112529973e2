// Command kubectl-queuebinding is the kubectl plugin `kubectl queuebinding`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // so that a kubeconfig may name any of kubectl's ways to log in

	"github.com/queuebinding/queuebinding/internal/cli"
	"github.com/queuebinding/queuebinding/internal/queue/sqs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	queues := sqs.NewOpener()
	queues.Owner = "the caller"
	code := cli.Run(ctx, cli.NewEnv(queues), os.Args[1:])
	stop()
	os.Exit(code)
}
