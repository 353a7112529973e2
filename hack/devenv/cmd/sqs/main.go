// Command sqs stands in for the AWS command line's `aws sqs` in the development environment: the same sub-commands,
// flags and JSON for the few of them that a walk-through needs.
//
// Endpoint, region and credentials come from the environment, as everywhere in AWS's tools.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	root := newCommand()
	// With `alias aws=sqs` one types what one would type for AWS.
	if args := os.Args[1:]; len(args) > 0 && args[0] == "sqs" {
		root.SetArgs(args[1:])
	}
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\n%s\n", describe(err))
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sqs",
		Short: "The sub-commands of `aws sqs` that a walk-through needs",
		Long: `The sub-commands of "aws sqs" that a walk-through needs, with the same flags and output.

Endpoint, region and credentials come from AWS_ENDPOINT_URL_SQS, AWS_REGION, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY. "send-message --count" is the only addition. With "alias aws=sqs", "aws sqs …" works as well.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var show presentation
	root.PersistentFlags().StringVar(&show.query, "query", "", "JMESPath expression over the answer")
	root.PersistentFlags().StringVar(&show.output, "output", "json", "json or text")
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(queueCommands(&show)...)
	root.AddCommand(messageCommands(&show)...)
	return root
}

// connect returns a client for what the environment names.
func connect(ctx context.Context) (*sqs.Client, error) {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		return nil, errors.New("no region: source bin/devenv/env, or set AWS_REGION")
	}
	return sqs.NewFromConfig(loaded), nil
}

// describe tells an error of SQS as the AWS command line does.
func describe(err error) string {
	var failed smithy.APIError
	var operation *smithy.OperationError
	if errors.As(err, &failed) && errors.As(err, &operation) {
		return fmt.Sprintf("An error occurred (%s) when calling the %s operation: %s",
			failed.ErrorCode(), operation.Operation(), failed.ErrorMessage())
	}
	return "sqs: " + err.Error()
}

// assignments reads what the AWS command line takes for a map: a JSON object, a file:// URL of one, or k=v,k=v.
func assignments(text string) (map[string]string, error) {
	text, err := fromFile(text)
	if err != nil || text == "" {
		return nil, err
	}
	values := map[string]string{}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		if err := json.Unmarshal([]byte(text), &values); err != nil {
			return nil, fmt.Errorf("reading attributes: %w", err)
		}
		return values, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("reading attributes: %q is no name=value", pair)
		}
		values[name] = value
	}
	return values, nil
}

// fromFile returns the text itself, or what file://path holds.
func fromFile(text string) (string, error) {
	path, isFile := strings.CutPrefix(text, "file://")
	if !isFile {
		return text, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a parameter: %w", err)
	}
	return string(data), nil
}
