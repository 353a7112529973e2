package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// messagePrinter prints the message that a Job is for.
type messagePrinter struct {
	*plugin
	file string
}

func newMessageCommand(p *plugin) *cobra.Command {
	m := &messagePrinter{plugin: p}
	cmd := &cobra.Command{
		Use:   "message JOB",
		Short: "Print the message that a Job is for",
		Long: `Print the body of the message that a Job is for. To a pipe or a file goes what
was sent, byte by byte. On a terminal, control characters that could play tricks
on it are escaped, as kubectl does it, and a newline is added where there is none
at the end.`,
		Example: `  kubectl queuebinding message pings-5k2vq7xw3hna
  kubectl queuebinding message pings-5k2vq7xw3hna --file message.json`,
		Args:              args(1, 1, "the name of a Job"),
		ValidArgsFunction: completion{p}.job,
	}
	cmd.Flags().StringVarP(&m.file, "file", "f", "", "Write to this file, which must not exist yet.")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return m.run(cmd.Context(), args[0]) }
	return cmd
}

func (m *messagePrinter) run(ctx context.Context, name string) error {
	namespace, err := m.namespace()
	if err != nil {
		return err
	}
	c, err := m.client()
	if err != nil {
		return err
	}
	asked := &batchv1.Job{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: strings.TrimPrefix(name, "job.batch/")}, asked); err != nil {
		return err
	}
	secrets, err := requeue.Secrets(ctx, c, asked)
	if err != nil {
		return err
	}
	message, err := job.MessageOf(asked, secrets)
	if err != nil {
		return &failure{code: codeError, err: fmt.Errorf("job.batch/%s: %w", asked.Name, err), next: "only Jobs that a QueueBinding made have a message"}
	}
	if m.file == "" {
		_, err := io.WriteString(m.Out, m.shown(message.Body))
		return err
	}
	// Nobody else's to read: a message may hold anything.
	f, err := os.OpenFile(m.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &failure{code: codeError, err: err, next: "name another file, or move this one away"}
	}
	if _, err := io.WriteString(f, message.Body); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// shown is a body as it is printed: on a terminal for a person to read, else as it was sent.
func (m *messagePrinter) shown(body string) string {
	if !m.OutTerminal {
		return body
	}
	if !strings.HasSuffix(body, "\n") {
		body += "\n"
	}
	return printable(body)
}
