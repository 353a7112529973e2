package sqs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// maxSessionName is the most characters of a role session's name and of a source identity. Source: the API reference of AssumeRole.
const maxSessionName = 64

// Actions that the operator takes, by what on. TestRequestsAreAllowed compares them with the requests that the code makes.
var (
	queueActions      = []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:SendMessage", "sqs:GetQueueAttributes"}
	deadLetterCounts  = []string{"sqs:GetQueueUrl", "sqs:GetQueueAttributes"}
	deadLetterRedrive = []string{"sqs:ListDeadLetterSourceQueues", "sqs:ListMessageMoveTasks", "sqs:StartMessageMoveTask", "sqs:ReceiveMessage", "sqs:DeleteMessage"}
	kmsActions        = []string{"kms:Decrypt", "kms:GenerateDataKey"}
)

// statement is one of an IAM policy.
type statement struct {
	Effect   string
	Action   []string
	Resource []string
}

func allow(actions []string, resource string) statement {
	return statement{Effect: "Allow", Action: actions, Resource: []string{resource}}
}

// sessionPolicy narrows a role to one queue: whatever else the role may do, a session for a binding may not. What it grants is
// granted only as far as the role has it too. Other queues can be counted, as the dead-letter queue is not known yet; its messages
// can be moved where deadLetterARN names it.
func sessionPolicy(queueARN, deadLetterARN string) (string, error) {
	statements := []statement{allow(queueActions, queueARN), allow(deadLetterCounts, "*"), allow(kmsActions, "*")}
	if deadLetterARN != "" {
		statements = append(statements, allow(deadLetterRedrive, deadLetterARN))
	}
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return "", fmt.Errorf("write a session policy: %w", err)
	}
	return string(policy), nil
}

// openAs opens a queue with a role of the binding's.
func (o *Opener) openAs(key clientKey, address queue.Address) (queue.Queue, error) {
	queueARN, err := arnOf(key.region, address.URL)
	if err != nil && os.Getenv(EndpointVariable) != "" {
		// Other services name queues in other ways, and have no policies.
		return &sqsQueue{client: o.newClient(key, o.assume(key, address.Credentials, "")), url: address.URL}, nil
	}
	if err != nil {
		return nil, err
	}
	as := func(deadLetterARN string) (*sqs.Client, error) {
		policy, err := sessionPolicy(queueARN, deadLetterARN)
		if err != nil {
			return nil, err
		}
		return o.newClient(key, o.assume(key, address.Credentials, policy)), nil
	}
	client, err := as("")
	if err != nil {
		return nil, err
	}
	return &sqsQueue{client: client, url: address.URL, redriveAs: as}, nil
}

// assume assumes a role, narrowed by a policy if there is one. CloudTrail shows the session's name and the source identity with all that the session does.
func (o *Opener) assume(key clientKey, c queue.Credentials, policy string) aws.CredentialsProvider {
	client := sts.NewFromConfig(o.base, func(options *sts.Options) { options.Region = key.region })
	session := sessionName(c.Session)
	return aws.NewCredentialsCache(marked{stscreds.NewAssumeRoleProvider(client, c.RoleARN, func(options *stscreds.AssumeRoleOptions) {
		options.ExternalID = aws.String(c.ExternalID)
		options.RoleSessionName = session
		options.SourceIdentity = aws.String(session)
		if policy != "" {
			options.Policy = aws.String(policy)
		}
	}), "role " + c.RoleARN})
}

// sessionName makes a name for a session, which ends in a hash where it would be too long.
func sessionName(of string) string {
	name := "queuebinding." + of
	if len(name) <= maxSessionName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := "." + hex.EncodeToString(sum[:5])
	return name[:maxSessionName-len(hash)] + hash
}
