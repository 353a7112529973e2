package tenancy

import (
	"strings"
	"testing"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	queueARN = "arn:aws:sqs:eu-west-1:123456789012:team-a-pings"
	roleARN  = "arn:aws:iam::123456789012:role/team-a/pings"
)

func TestCheck(t *testing.T) {
	role := &v1alpha1.Credentials{RoleARN: roleARN}
	secret := &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "keys"}}
	for name, test := range map[string]struct {
		queues, roles, identity string
		credentials             *v1alpha1.Credentials
		wantAsk                 string // empty: allowed
	}{
		"nothing granted":                     {wantAsk: "allowed-queues"},
		"operator's identity":                 {queues: queueARN, identity: "true"},
		"operator's identity is not granted":  {queues: queueARN, wantAsk: "operator-identity"},
		"identity that is not quite true":     {queues: queueARN, identity: "True", wantAsk: "operator-identity"},
		"a Secret of the tenant's":            {queues: queueARN, credentials: secret},
		"a Secret opens no other queue":       {queues: "arn:aws:sqs:eu-west-1:123456789012:other", credentials: secret, wantAsk: "allowed-queues"},
		"a role that is granted":              {queues: queueARN, roles: "arn:aws:iam::123456789012:role/team-a/*", credentials: role},
		"a role that is not":                  {queues: queueARN, roles: "arn:aws:iam::123456789012:role/*", credentials: role, wantAsk: "allowed-roles"},
		"identity does not stand for a role":  {queues: queueARN, identity: "true", credentials: role, wantAsk: "allowed-roles"},
		"several patterns":                    {queues: "arn:aws:sqs:eu-west-1:123456789012:x, arn:aws:sqs:eu-west-1:123456789012:team-a-*\n", identity: "true"},
		"one character":                       {queues: "arn:aws:sqs:eu-west-1:123456789012:team-?-pings", identity: "true"},
		"another region":                      {queues: "arn:aws:sqs:us-east-1:123456789012:team-a-*", identity: "true", wantAsk: "allowed-queues"},
		"any region":                          {queues: "arn:aws:sqs:*:123456789012:team-a-*", identity: "true"},
		"another account":                     {queues: "arn:aws:sqs:eu-west-1:999999999999:team-a-*", identity: "true", wantAsk: "allowed-queues"},
		"a star does not cross a colon":       {queues: "arn:aws:sqs:*:team-a-pings", identity: "true", wantAsk: "allowed-queues"},
		"a star alone":                        {queues: "*", identity: "true", wantAsk: "allowed-queues"},
		"the beginning of a name":             {queues: "arn:aws:sqs:eu-west-1:123456789012:team-a", identity: "true", wantAsk: "allowed-queues"},
		"a class of characters is no pattern": {queues: "arn:aws:sqs:eu-west-1:123456789012:team-[a-z]-pings", identity: "true", wantAsk: "allowed-queues"},
		"a dot stands for itself":             {queues: "arn:aws:sqs:eu-west-1:123456789012:team.a.pings", identity: "true", wantAsk: "allowed-queues"},
	} {
		t.Run(name, func(t *testing.T) {
			grant := GrantOf("team-a", map[string]string{
				v1alpha1.AnnotationAllowedQueues: test.queues, v1alpha1.AnnotationAllowedRoles: test.roles, v1alpha1.AnnotationOperatorIdentity: test.identity,
			})
			err := grant.Check(queueARN, test.credentials)
			switch {
			case test.wantAsk == "" && err != nil:
				t.Errorf("denied: %v", err)
			case test.wantAsk != "" && err == nil:
				t.Errorf("allowed, want %s to be asked for", test.wantAsk)
			case test.wantAsk != "" && (queue.ReasonOf(err) != queue.NotAllowed || !strings.Contains(err.Error(), "queuebinding.dev/"+test.wantAsk)):
				t.Errorf("got %v of reason %s, want %s to be asked for", err, queue.ReasonOf(err), test.wantAsk)
			}
		})
	}
}

// What a tenant is told is about its own namespace and binding alone.
func TestADenialTellsNothingOfOthers(t *testing.T) {
	err := GrantOf("team-a", map[string]string{v1alpha1.AnnotationAllowedQueues: "arn:aws:sqs:eu-west-1:123456789012:secret-project"}).Check(queueARN, nil)
	if err == nil || strings.Contains(err.Error(), "secret-project") {
		t.Errorf("got %v, want an error without the patterns", err)
	}
}
