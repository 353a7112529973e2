package job

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// P2: a message and attempt have one name, and another message, attempt or binding has another.
func TestJobNameIsTheLineages(t *testing.T) {
	first := Lineage{Root: "m1", Attempt: 1}
	name := first.JobName("pings", "u1")
	if again := first.JobName("pings", "u1"); again != name {
		t.Errorf("the same lineage gives %s and %s", name, again)
	}
	for what, other := range map[string]string{
		"another message":               Lineage{Root: "m2", Attempt: 1}.JobName("pings", "u1"),
		"another attempt":               Lineage{Root: "m1", Attempt: 2}.JobName("pings", "u1"),
		"a binding with another UID":    first.JobName("pings", "u2"),
		"root and attempt that run on":  Lineage{Root: "m11", Attempt: 1}.JobName("pings", "u1"),
		"root and attempt that run on2": Lineage{Root: "m1", Attempt: 11}.JobName("pings", "u1"),
	} {
		if other == name {
			t.Errorf("%s gives the same name %s", what, name)
		}
	}
}

func TestJobNameIsADNSLabelForAnyMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		binding := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?`).Draw(t, "binding")
		lineage := Lineage{Root: rapid.String().Draw(t, "root"), Attempt: rapid.IntRange(1, 1<<30).Draw(t, "attempt")}
		if problems := validation.IsDNS1123Label(lineage.JobName(binding, types.UID(rapid.String().Draw(t, "uid")))); len(problems) > 0 {
			t.Fatal(problems)
		}
		if problems := validation.IsValidLabelValue(lineage.MessageLabel()); len(problems) > 0 {
			t.Fatal(problems)
		}
	})
}

// An attempt is accepted from a message only as it is of its queue, body and attributes, and where an operator signed it.
func TestALineageIsAcceptedAsItWasSignedOnly(t *testing.T) {
	const url = "https://sqs.eu-west-1.amazonaws.com/123456789012/pings"
	attributes := queue.Attributes{"color": {DataType: "String", StringValue: "red"}}
	with := func(lineage string) *queue.Message {
		m := aMessage("body")
		m.Attributes = queue.Attributes{"color": attributes["color"], v1alpha1.AttributeLineage: {DataType: "String", StringValue: lineage}}
		return m
	}
	signed := func(keys Keys, url string, lineage Lineage) *queue.Message {
		return with(keys.Attribute(url, lineage, "body", attributes).StringValue)
	}
	changed := func(change func(*queue.Message)) *queue.Message {
		m := signed(testKeys, url, Lineage{Root: "root", Attempt: 3})
		change(m)
		return m
	}
	other := []byte("a key that a producer thought of ")
	mac := strings.Split(testKeys.Attribute(url, Lineage{Root: "root", Attempt: 3}, "body", attributes).StringValue, "/")[2]
	first, third := Lineage{Root: aMessage("").ID, Attempt: 1}, Lineage{Root: "root", Attempt: 3}
	for name, tc := range map[string]struct {
		message *queue.Message
		want    Lineage
	}{
		"plain message":            {aMessage("body"), first},
		"requeued message":         {signed(testKeys, url, third), third},
		"the last attempt":         {signed(testKeys, url, Lineage{Root: "root", Attempt: MaxAttempts}), Lineage{Root: "root", Attempt: MaxAttempts}},
		"signed with another key":  {signed(Keys{Current: other}, url, third), first},
		"signed with no key":       {signed(Keys{}, url, third), first},
		"signed for another queue": {signed(testKeys, url+"2", third), first},
		"a digest that anybody can make, as requeues once had": {with("root/3/" + digestOf("body", attributes)), first},
		"no signature":            {with("root/3"), first},
		"an empty signature":      {with("root/3/"), first},
		"half a signature":        {with("root/3/" + mac[:len(mac)/2]), first},
		"a signature of 3 with 4": {with("root/4/" + mac), first},
		"another root":            {with("toor/3/" + mac), first},
		"another body":            {changed(func(m *queue.Message) { m.Body = "other" }), first},
		"another attribute": {changed(func(m *queue.Message) {
			m.Attributes["color"] = queue.Attribute{DataType: "String", StringValue: "blue"}
		}), first},
		"another type of attribute": {changed(func(m *queue.Message) {
			m.Attributes["color"] = queue.Attribute{DataType: "String.x", StringValue: "red"}
		}), first},
		"one attribute more":                 {changed(func(m *queue.Message) { m.Attributes["x"] = queue.Attribute{DataType: "String", StringValue: "x"} }), first},
		"one attribute less":                 {changed(func(m *queue.Message) { delete(m.Attributes, "color") }), first},
		"no attempt":                         {with("root/x/" + mac), first},
		"attempt 0":                          {signed(testKeys, url, Lineage{Root: "root"}), first},
		"attempt 1, which is never sent":     {signed(testKeys, url, Lineage{Root: "root", Attempt: 1}), first},
		"an attempt below 0":                 {signed(testKeys, url, Lineage{Root: "root", Attempt: -3}), first},
		"an attempt beyond the last":         {signed(testKeys, url, Lineage{Root: "root", Attempt: MaxAttempts + 1}), first},
		"the greatest number there is":       {signed(testKeys, url, Lineage{Root: "root", Attempt: math.MaxInt}), first},
		"a number that is none":              {with("root/9223372036854775808/" + mac), first},
		"no root":                            {signed(testKeys, url, Lineage{Attempt: 3}), first},
		"a root that is longer than any ID":  {signed(testKeys, url, Lineage{Root: strings.Repeat("x", 129), Attempt: 3}), first},
		"a root that would end before it is": {signed(testKeys, url, Lineage{Root: "a/b", Attempt: 3}), first},
	} {
		t.Run(name, func(t *testing.T) {
			if got := testKeys.Lineage(url, tc.message); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// digestOf is what requeued messages bore in place of a signature in version 0.1.0.
func digestOf(body string, attributes queue.Attributes) string {
	h := sha256.New()
	writeField(h, []byte(body))
	for _, name := range attributes.Names() {
		writeField(h, []byte(name))
		writeField(h, []byte(attributes[name].DataType))
		writeField(h, []byte(attributes[name].StringValue))
		writeField(h, attributes[name].BinaryValue)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// While a key is replaced, what was signed with the one before is still accepted; nothing is signed with that any more, and a
// key that is not there signs nothing.
func TestTheKeyBeforeIsAcceptedAndSignsNothing(t *testing.T) {
	const url = "https://a.queue/"
	before, after := testKeys.Current, []byte("the key that replaces that one  ")
	third := Lineage{Root: "root", Attempt: 3}
	for name, tc := range map[string]struct {
		signs, verifies Keys
		want            bool
	}{
		"signed before the change":     {Keys{Current: before}, Keys{Current: after, Previous: before}, true},
		"signed after it":              {Keys{Current: after, Previous: before}, Keys{Current: after}, true},
		"not with the key before":      {Keys{Current: after, Previous: before}, Keys{Current: before}, false},
		"by one who changed first":     {Keys{Current: after, Previous: before}, Keys{Current: before, Previous: after}, true},
		"two changes ago":              {Keys{Current: before}, Keys{Current: other(1), Previous: after}, false},
		"with no key, where none was":  {Keys{}, Keys{Current: after}, false},
		"verified without a key":       {Keys{Current: after}, Keys{}, false},
		"neither with nor without one": {Keys{}, Keys{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			message := aMessage("body")
			message.Attributes = queue.Attributes{v1alpha1.AttributeLineage: tc.signs.Attribute(url, third, "body", nil)}
			if got := tc.verifies.Lineage(url, message) == third; got != tc.want {
				t.Errorf("accepted: %t, want %t", got, tc.want)
			}
		})
	}
}

// other is a key of its own for each number.
func other(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

// Whatever a producer writes into the attribute, its message is one of its own.
func TestNobodyWithoutTheKeyWritesALineage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := drawMessage(t)
		attempt := rapid.OneOf(rapid.IntRange(-2, 5), rapid.Int()).Draw(t, "attempt")
		signature := rapid.OneOf(
			rapid.StringMatching(`[0-9a-f]{64}`), rapid.StringMatching(`[0-9a-f]{32}`), rapid.String(),
			rapid.Just(digestOf(message.Body, message.Attributes)),
		).Draw(t, "signature")
		root := rapid.StringMatching(`[0-9a-f-]{36}`).Draw(t, "root")
		text := rapid.OneOf(
			rapid.Just(fmt.Sprintf("%s/%d/%s", root, attempt, signature)),
			rapid.Just(Keys{Current: other(1)}.Attribute("https://a.queue/", Lineage{Root: root, Attempt: attempt}, message.Body, message.Attributes).StringValue),
			rapid.String(),
		).Draw(t, "text")
		if message.Attributes == nil {
			message.Attributes = queue.Attributes{}
		}
		message.Attributes[v1alpha1.AttributeLineage] = queue.Attribute{DataType: "String", StringValue: text}
		if got, want := testKeys.Lineage("https://a.queue/", message), (Lineage{Root: message.ID, Attempt: 1}); got != want {
			t.Fatalf("%q is taken for %+v", text, got)
		}
	})
}

// What an operator signs, an operator accepts.
func TestWhatIsSignedIsAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := drawMessage(t)
		url := rapid.String().Draw(t, "url")
		want := Lineage{Root: rapid.StringMatching(`[^/]{1,32}`).Draw(t, "root"), Attempt: rapid.IntRange(2, MaxAttempts).Draw(t, "attempt")}
		attribute := testKeys.Attribute(url, want, message.Body, message.Attributes)
		message.Attributes = maps.Clone(message.Attributes)
		if message.Attributes == nil {
			message.Attributes = queue.Attributes{}
		}
		message.Attributes[v1alpha1.AttributeLineage] = attribute
		if got := testKeys.Lineage(url, message); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if got := testKeys.Lineage(url+"x", message); got == want {
			t.Fatal("it is accepted on another queue too")
		}
	})
}

func TestTheNextAttemptIsALaterOneOrNone(t *testing.T) {
	for attempt, want := range map[int]int{1: 2, 2: 3, MaxAttempts - 1: MaxAttempts, MaxAttempts: 0, MaxAttempts + 1: 0, math.MaxInt: 0} {
		next, err := Lineage{Root: "root", Attempt: attempt}.Next()
		switch _, rejected := errors.AsType[*RejectionError](err); {
		case want == 0 && !rejected:
			t.Errorf("after %d comes %+v and %v, want a rejection", attempt, next, err)
		case want != 0 && (err != nil || next != Lineage{Root: "root", Attempt: want}):
			t.Errorf("after %d comes %+v and %v, want %d", attempt, next, err, want)
		}
	}
}

// Who may edit Jobs may write any number there.
func TestAJobBearsNoAttemptBeyondTheLast(t *testing.T) {
	for text, want := range map[string]int{"1": 1, "2": 2, "1000000": MaxAttempts, "1000001": 0, "9223372036854775807": 0, "0": 0, "-1": 0, "x": 0} {
		job := &batchv1.Job{}
		job.Annotations = map[string]string{v1alpha1.AnnotationMessageID: "root", v1alpha1.AnnotationAttempt: text}
		got, ok := RecordedLineage(job)
		if got.Attempt != want || ok != (want != 0) {
			t.Errorf("attempt %s is read as %+v, %t", text, got, ok)
		}
	}
}
