package keda

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// The schema's patterns.
var (
	queueURL  = regexp.MustCompile(`^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._-]+)?/[A-Za-z0-9_-]{1,80}([.]fifo)?$`)
	queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}([.]fifo)?$`)
	region    = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
)

// placeholders of what a ScaledJob does not tell. The account is none of AWS's.
const (
	placeholderAccount = "000000000000"
	placeholderRegion  = "us-east-1"
	placeholderQueue   = "replace-me"
)

// needlessParameters are those of a trigger that only decide how many Jobs to start.
var needlessParameters = map[string]string{
	"scaleOnInFlight":       "not needed: the operator counts the Jobs that exist, not messages in flight",
	"scaleOnDelayed":        "not needed: a delayed message gets its Job when SQS lets it be received",
	"activationQueueLength": "there is no threshold: the first message gets its Job at once",
	"awsEndpoint":           "not a binding's to choose: set AWS_ENDPOINT_URL_SQS in the operator's Deployment, for all bindings",
}

// readParameters are those that are read, here or in credentials.go.
var readParameters = []string{
	"queueURL", "queueURLFromEnv", "queueLength", "awsRegion",
	"identityOwner", "awsAccessKeyID", "awsAccessKeyIDFromEnv", "awsSecretAccessKeyFromEnv",
}

// bindQueue gives a binding the queue of a trigger, and its credentials.
func bindQueue(binding *v1alpha1.QueueBinding, source *scaledJob, i int, known authentications, said *remarks) {
	t := &source.Spec.Triggers[i]
	field := fmt.Sprintf("spec.triggers[%d].", i)
	of := field + "metadata."
	if given := t.Metadata["awsRegion"]; region.MatchString(given) {
		binding.Spec.Queue.Region = given
	} else if given != "" {
		said.need(of+"awsRegion", "%q is no region: set spec.queue.region", given)
	}
	bindURL(binding, source, t, of, said)
	bindCredentials(binding, source, t, field, known, said)

	if length := cmp.Or(t.Metadata["queueLength"], defaultQueueLength); length != "1" {
		said.need(of+"queueLength", "KEDA reckons with %s messages for a Job, a binding has one Job for each: see that the container ends after one", length)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Metadata)) {
		if reason := needlessParameters[name]; reason != "" {
			said.note(of+name, "%s", reason)
		} else if !slices.Contains(readParameters, name) {
			said.note(of+name, "not known, left out")
		}
	}
	if t.Name != "" || t.MetricType != "" || t.UseCachedMetrics {
		said.note(field+"name", "name, metricType and useCachedMetrics are about KEDA's metrics, and left out")
	}
}

// bindURL finds the queue's URL, or writes one to be replaced, and suspends the binding.
func bindURL(binding *v1alpha1.QueueBinding, source *scaledJob, t *trigger, of string, said *remarks) {
	field, given := of+"queueURL", t.Metadata["queueURL"]
	if from := t.Metadata["queueURLFromEnv"]; given == "" && from != "" {
		field = of + "queueURLFromEnv"
		if v := variable(source.environment(), from); v != nil {
			given = v.Value
		}
		if given == "" {
			said.need(field, "the value of %s is not in the ScaledJob", from)
		}
	}
	if queueURL.MatchString(given) && len(given) <= 512 {
		binding.Spec.Queue.URL = given
		return
	}
	called := placeholderQueue
	if queueName.MatchString(given) {
		called = given
	}
	binding.Spec.Queue.URL = fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%s", cmp.Or(binding.Spec.Queue.Region, placeholderRegion), placeholderAccount, called)
	binding.Spec.Suspend = true
	said.need(field, "there is no queue URL to be had from %q: replace spec.queue.url, by what `aws sqs get-queue-url` prints, before you apply the binding, as it cannot be changed later, and remove suspend", given)
}
