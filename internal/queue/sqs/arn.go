package sqs

import (
	"context"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// queuePath is the path of a queue's URL: account and name.
var queuePath = regexp.MustCompile(`^/([0-9]{12})/([A-Za-z0-9_-]{1,80}(?:\.fifo)?)$`)

// ARN returns the ARN of the queue that requests to an address are about: SQS goes by account and name in the URL, and by the region
// that it is asked in.
func (o *Opener) ARN(ctx context.Context, address queue.Address) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.load(ctx); err != nil {
		return "", err
	}
	key, err := o.keyOf(address)
	if err != nil {
		return "", err
	}
	return arnOf(key.region, address.URL)
}

func arnOf(region, queueURL string) (string, error) {
	parsed, err := url.Parse(queueURL)
	if err != nil {
		return "", queue.Errorf(queue.InvalidQueue, "queue URL: %w", err)
	}
	match := queuePath.FindStringSubmatch(parsed.Path)
	if match == nil {
		return "", queue.Errorf(queue.InvalidQueue, "%s does not name a queue as https://<host>/<account>/<name> does", queueURL)
	}
	return arn.ARN{Partition: partitionOf(region), Service: "sqs", Region: region, AccountID: match[1], Resource: match[2]}.String(), nil
}

// partitionOf returns the partition that a region is in. Source: the partitions of the AWS SDK's endpoint rules.
func partitionOf(region string) string {
	for _, p := range []struct{ prefix, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-isob-", "aws-iso-b"}, {"us-isof-", "aws-iso-f"}, {"us-iso-", "aws-iso"},
		{"eu-isoe-", "aws-iso-e"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}
