package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/spf13/cobra"
)

// action calls SQS and returns what to print, or nil.
type action func(context.Context, *sqs.Client) (any, error)

func command(show *presentation, use, short string, run action) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd.Context())
			if err != nil {
				return err
			}
			answer, err := run(cmd.Context(), client)
			if err != nil || answer == nil {
				return err
			}
			return show.print(cmd.OutOrStdout(), answer)
		},
	}
}

// required adds a flag that must be given.
func required(cmd *cobra.Command, into *string, name, usage string) {
	cmd.Flags().StringVar(into, name, "", usage)
	if err := cmd.MarkFlagRequired(name); err != nil {
		panic(err) // the flag was added above
	}
}

type queueURL struct {
	QueueURL string `json:"QueueUrl"`
}

func queueCommands(show *presentation) []*cobra.Command {
	var name, url, attributes, prefix, owner string
	var names []string

	create := command(show, "create-queue", "Create a queue", func(ctx context.Context, client *sqs.Client) (any, error) {
		values, err := assignments(attributes)
		if err != nil {
			return nil, err
		}
		output, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: values})
		if err != nil {
			return nil, err
		}
		return queueURL{aws.ToString(output.QueueUrl)}, nil
	})
	required(create, &name, "queue-name", "name; one that ends in .fifo makes a FIFO queue with FifoQueue=true")
	create.Flags().StringVar(&attributes, "attributes", "", "name=value,name=value, a JSON object, or file://path")

	getURL := command(show, "get-queue-url", "Get a queue's URL by its name", func(ctx context.Context, client *sqs.Client) (any, error) {
		input := &sqs.GetQueueUrlInput{QueueName: &name}
		if owner != "" {
			input.QueueOwnerAWSAccountId = &owner
		}
		output, err := client.GetQueueUrl(ctx, input)
		if err != nil {
			return nil, err
		}
		return queueURL{aws.ToString(output.QueueUrl)}, nil
	})
	required(getURL, &name, "queue-name", "name")
	getURL.Flags().StringVar(&owner, "queue-owner-aws-account-id", "", "account of the queue, if it is another one")

	get := command(show, "get-queue-attributes", "Get a queue's attributes", func(ctx context.Context, client *sqs.Client) (any, error) {
		input := &sqs.GetQueueAttributesInput{QueueUrl: &url}
		for _, name := range names {
			input.AttributeNames = append(input.AttributeNames, types.QueueAttributeName(name))
		}
		output, err := client.GetQueueAttributes(ctx, input)
		if err != nil || len(output.Attributes) == 0 {
			return nil, err
		}
		return struct{ Attributes map[string]string }{output.Attributes}, nil
	})
	required(get, &url, "queue-url", "URL")
	list(get, &names, "attribute-names", "names, or All")

	set := command(show, "set-queue-attributes", "Set a queue's attributes", func(ctx context.Context, client *sqs.Client) (any, error) {
		values, err := assignments(attributes)
		if err != nil {
			return nil, err
		}
		_, err = client.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: values})
		return nil, err
	})
	required(set, &url, "queue-url", "URL")
	required(set, &attributes, "attributes", "name=value,name=value, a JSON object, or file://path")

	listQueues := command(show, "list-queues", "List queues", func(ctx context.Context, client *sqs.Client) (any, error) {
		input := &sqs.ListQueuesInput{}
		if prefix != "" {
			input.QueueNamePrefix = &prefix
		}
		output, err := client.ListQueues(ctx, input)
		if err != nil || len(output.QueueUrls) == 0 {
			return nil, err
		}
		return struct{ QueueUrls []string }{output.QueueUrls}, nil
	})
	listQueues.Flags().StringVar(&prefix, "queue-name-prefix", "", "only queues whose name begins so")

	purge := command(show, "purge-queue", "Delete a queue's messages", func(ctx context.Context, client *sqs.Client) (any, error) {
		_, err := client.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &url})
		return nil, err
	})
	required(purge, &url, "queue-url", "URL")

	remove := command(show, "delete-queue", "Delete a queue", func(ctx context.Context, client *sqs.Client) (any, error) {
		_, err := client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &url})
		return nil, err
	})
	required(remove, &url, "queue-url", "URL")

	return []*cobra.Command{create, getURL, get, set, listQueues, purge, remove}
}

// list adds a flag with several values. The AWS command line separates them by spaces, so the arguments after it are
// values too.
func list(cmd *cobra.Command, into *[]string, names ...string) {
	usage := names[len(names)-1]
	for _, name := range names[:len(names)-1] {
		cmd.Flags().StringSliceVar(into, name, nil, usage)
	}
	cmd.Args = cobra.ArbitraryArgs
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		*into = append(*into, args...)
		return run(cmd, nil)
	}
}
