package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// peekVisibility is how long a message is hidden at most by looking at it: it is given back at once, and this is for
// when that fails.
const peekVisibility = 10 * time.Second

// idWidth is room for the ID of a message: SQS's have 36 characters.
const idWidth = 100

// peeker shows messages that wait on a queue.
type peeker struct {
	*plugin
	deadLetter bool
	limit      int
}

func newPeekCommand(p *plugin) *cobra.Command {
	k := &peeker{plugin: p}
	cmd := &cobra.Command{
		Use:   "peek NAME",
		Short: "Look at messages that wait on a binding's queue",
		Long: `Look at messages that wait on the queue of a binding, with your own AWS
identity. They are not taken off the queue, but SQS has no way to look without
receiving: each look counts as a receive, which a redrive policy's
maxReceiveCount sees, and hides the message for a moment (10 seconds where it
cannot be given back); on a FIFO queue the rest of its group too.`,
		Example:           "  kubectl queuebinding peek pings\n  kubectl queuebinding peek pings --dead-letter --limit 50",
		Args:              args(1, 1, "the name of a binding"),
		ValidArgsFunction: completion{p}.binding,
	}
	cmd.Flags().BoolVar(&k.deadLetter, "dead-letter", false, "Look at the queue's dead-letter queue.")
	cmd.Flags().IntVar(&k.limit, "limit", queue.MaxBatch, "Look at no more than this many messages.")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return k.run(cmd, args[0]) }
	return cmd
}

func (k *peeker) run(cmd *cobra.Command, name string) error {
	if k.limit < 1 {
		return misuse(cmd, errors.New("--limit must be at least 1"))
	}
	_, binding, err := k.binding(cmd.Context(), name)
	if err != nil {
		return err
	}
	at := address(binding)
	if k.deadLetter {
		if at.URL, err = deadLetterURL(binding); err != nil {
			return err
		}
	}
	q, err := k.Queues.Open(cmd.Context(), at)
	if err != nil {
		return err
	}
	return k.peek(cmd.Context(), q)
}

// deadLetterURL is the URL of a binding's dead-letter queue, which SQS has in the same region and account as the queue.
func deadLetterURL(binding *v1alpha1.QueueBinding) (string, error) {
	if binding.Status.Queue == nil || binding.Status.Queue.DeadLetterQueueARN == "" {
		return "", &failure{code: codeError, err: fmt.Errorf("no dead-letter queue of QueueBinding %s is known", binding.Name),
			next: "give the queue a redrive policy; the operator sees it within a minute"}
	}
	parsed, err := url.Parse(binding.Spec.Queue.URL)
	if err != nil {
		return "", err
	}
	arn := binding.Status.Queue.DeadLetterQueueARN
	parsed.Path = path.Join(path.Dir(parsed.Path), arn[strings.LastIndexByte(arn, ':')+1:])
	return parsed.String(), nil
}

func (k *peeker) peek(ctx context.Context, q queue.Queue) error {
	var seen []queue.Message
	// All are held until the end, so that none is received twice; then they are given back, also when interrupted.
	defer func() {
		var handles []string
		for i := range seen {
			handles = append(handles, seen[i].ReceiptHandle)
		}
		if err := errors.Join(q.ChangeVisibility(context.WithoutCancel(ctx), handles, 0)...); err != nil {
			k.note("some messages stay hidden for up to %s: %v", peekVisibility, err)
		}
	}()
	for len(seen) < k.limit {
		some, err := q.Receive(ctx, min(k.limit-len(seen), queue.MaxBatch), time.Second, peekVisibility)
		if err != nil {
			return err
		}
		if len(some) == 0 {
			break
		}
		seen = append(seen, some...)
	}
	if len(seen) == 0 {
		k.note("no messages wait")
		return nil
	}
	var rows [][]string
	for i := range seen {
		m := &seen[i]
		rows = append(rows, []string{oneLine(m.ID, idWidth), k.age(m.SentTime), fmt.Sprint(m.ReceiveCount), oneLine(m.Body, reasonWidth)})
	}
	if err := table(k.Out, []string{"MESSAGE ID", "SENT", "RECEIVES", "BODY"}, rows); err != nil {
		return err
	}
	k.note("this look counts as one receive of each of these messages")
	return nil
}
