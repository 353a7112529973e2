package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// parallelBatches is how many requests of ten messages are under way at a time. One alone waits for the network most of
// its time.
const parallelBatches = 8

// sender puts messages on a queue.
type sender struct {
	*plugin
	bodies     []string
	files      []string
	lines      bool
	attributes map[string]string
	group      string
}

func newSendCommand(p *plugin) *cobra.Command {
	o := &sender{plugin: p}
	cmd := &cobra.Command{
		Use:   "send NAME --body TEXT | --file FILE | --stdin-lines",
		Short: "Put messages on a binding's queue",
		Long: `Put messages on the queue of a binding, with your own AWS identity.

On a FIFO queue --group is needed. Each message gets a deduplication ID of its
own there, so that the same body can be sent twice.`,
		Example: `  kubectl queuebinding send pings --body '{"target": "127.0.0.1", "duration": 3}'
  kubectl queuebinding send pings --file message.json --attribute color=red
  generate | kubectl queuebinding send pings --stdin-lines`,
		Args:              args(1, 1, "the name of a binding"),
		ValidArgsFunction: completion{p}.binding,
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.bodies, "body", nil, "Body of a message. May be given again.")
	flags.StringArrayVar(&o.files, "file", nil, "File whose content is the body of a message; - is the standard input. May be given again.")
	flags.BoolVar(&o.lines, "stdin-lines", false, "Send each line of the standard input as a message. Empty lines are left out.")
	flags.StringToStringVar(&o.attributes, "attribute", nil, "Message attribute, as name=value. May be given again.")
	flags.StringVar(&o.group, "group", "", "Message group, on FIFO queues and fair queues.")
	cmd.MarkFlagsOneRequired("body", "file", "stdin-lines")
	cmd.MarkFlagsMutuallyExclusive("body", "file", "stdin-lines")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) }
	return cmd
}

func (o *sender) run(cmd *cobra.Command, name string) error {
	_, binding, err := o.binding(cmd.Context(), name)
	if err != nil {
		return err
	}
	fifo := strings.HasSuffix(binding.Spec.Queue.URL, ".fifo")
	if fifo && o.group == "" {
		return misuse(cmd, errors.New("the queue is a FIFO queue: --group is needed"))
	}
	q, err := o.Queues.Open(cmd.Context(), address(binding))
	if err != nil {
		return err
	}
	parallel := parallelBatches
	if fifo {
		parallel = 1 // to keep the order
	}
	return o.send(cmd.Context(), q, o.messages(o.In, fifo), parallel)
}

func address(binding *v1alpha1.QueueBinding) queue.Address {
	return queue.Address{URL: binding.Spec.Queue.URL, Region: binding.Spec.Queue.Region}
}

// messages yields what is to be sent, one by one.
func (o *sender) messages(stdin io.Reader, fifo bool) func(yield func(queue.Outgoing, error) bool) {
	attributes := queue.Attributes{}
	for name, value := range o.attributes {
		attributes[name] = queue.Attribute{DataType: "String", StringValue: value}
	}
	message := func(body string) queue.Outgoing {
		m := queue.Outgoing{Body: body, Attributes: attributes, GroupID: o.group}
		if fifo {
			m.DeduplicationID = uuid.NewString()
		}
		return m
	}
	return func(yield func(queue.Outgoing, error) bool) {
		for _, body := range o.bodies {
			if !yield(message(body), nil) {
				return
			}
		}
		for _, file := range o.files {
			body, err := readFile(stdin, file)
			if !yield(message(string(body)), err) || err != nil {
				return
			}
		}
		if !o.lines {
			return
		}
		scanner := bufio.NewScanner(stdin)
		scanner.Buffer(nil, queue.MaxMessageBytes+1)
		for scanner.Scan() {
			if scanner.Text() != "" && !yield(message(scanner.Text()), nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield(queue.Outgoing{}, fmt.Errorf("read the standard input: %w", err))
		}
	}
}

func readFile(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// send sends messages in batches and says how many were sent.
func (o *sender) send(ctx context.Context, q queue.Queue, messages func(func(queue.Outgoing, error) bool), parallel int) error {
	bar := newProgress(o.plugin, "sent")
	var mu sync.Mutex
	var sent, failed int
	var first error
	flush := func(batch []queue.Outgoing) {
		errs := q.SendBatch(ctx, batch)
		mu.Lock()
		defer mu.Unlock()
		for _, err := range errs {
			if err == nil {
				sent++
				continue
			}
			failed++
			if first == nil {
				first = err
			}
		}
		bar.show(sent, 0)
	}

	var work sync.WaitGroup
	slots := make(chan struct{}, parallel)
	start := func(batch []queue.Outgoing) {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			flush(batch)
		})
	}
	var batch []queue.Outgoing
	var readErr error
	for message, err := range messages {
		if readErr = err; err != nil || ctx.Err() != nil {
			break
		}
		if batch = append(batch, message); len(batch) == queue.MaxBatch {
			start(batch)
			batch = nil
		}
	}
	if len(batch) > 0 && ctx.Err() == nil {
		start(batch)
	}
	work.Wait()
	bar.end()
	fmt.Fprintf(o.Out, "%s sent\n", plural(sent, "message"))
	switch {
	case first != nil:
		f := explain(first)
		f.err = fmt.Errorf("%s not sent, the first because: %w", plural(failed, "message"), first)
		return f
	case readErr != nil:
		return readErr
	}
	return ctx.Err()
}
