package job

import (
	"errors"
	"strings"
	"testing"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// What is said of a message goes into a status, events and logs, which more people read than may read messages.
func TestFailuresTellWhereAndQuoteNothing(t *testing.T) {
	const body = `{"s": "tell-nobody", "n": 0, "l": ["tell-nobody"], "o": {"tell-nobody": 1}}`
	for name, tc := range map[string]struct{ body, expression, want string }{
		"a key of the expression":        {body, "message.json.target", "line 1, column 13: no such key: target"},
		"a key of the message":           {body, "message.json[message.json.s]", "line 1, column 13: no such key"},
		"a key of the attributes":        {body, "message.attributes[message.json.s]", "line 1, column 19: no such key"},
		"an index of the message":        {`{"i": 4711, "l": []}`, "message.json.l[message.json.i]", "line 1, column 15: index out of bounds"},
		"no number":                      {body, "int(message.json.s)", "line 1, column 4: type conversion error from 'string' to 'int'"},
		"no time":                        {body, "timestamp(message.json.s)", "type conversion error from 'string' to 'google.protobuf.Timestamp'"},
		"no time zone":                   {body, "message.sentTime.getHours(message.json.s)", "unknown time zone"},
		"no offset of a time zone":       {body, "message.sentTime.getHours('1:' + message.json.s)", "the expression failed"},
		"no regular expression":          {body, "'x'.matches('(' + message.json.s)", "error parsing regexp"},
		"no base64":                      {body, "base64.decode(message.json.s)", "illegal base64 data"},
		"no text to join":                {body, "[message.json.o].join()", "no such overload"},
		"no overload":                    {body, "message.json.s - 1", "no such overload"},
		"no verb":                        {body, "message.json.s.format([1])", ""},
		"another verb":                   {`{"f": "%tell-nobody"}`, "message.json.f.format([1])", "the expression failed"},
		"an index of lists that is text": {body, "message.json.l[message.json.s]", "unsupported index"},
		"a division":                     {body, "1 / message.json.n", "line 1, column 3: division by zero"},
		"on the second line":             {body, "1 +\n message.json.target", "line 2, column 14: no such key: target"},
		"no finite number":               {body, "1.0 / 0.0", "a number that JSON cannot write"},
		"a type":                         {body, "type(message.json.s)", "no value for an environment variable"},
		"body that is not JSON":          {"tell-nobody", "message.json.target", "no such key: target (message.json is null, as the body is not JSON: byte 2 is wrong)"},
		"body that ends too early":       {`{"s": "tell-nobody`, "message.json.s", "the body is not JSON: it ends too early"},
		"body of two values":             {`"tell-nobody" x`, "message.json.s", "the body is not JSON: something follows the first value"},
		"a value that is too long":       {`{"s": "` + strings.Repeat("tell-nobody", 12<<10) + `"}`, "message.json.s", "v would be 135170 bytes"},
		"a list that is too long":        {`[` + strings.Repeat(`"tell-nobody",`, 90<<10) + `1]`, "message.json", "more than the 122880 bytes"},
		"a NUL":                          {`{"s": "tell-nobody\u0000"}`, "message.json.s", "NUL"},
	} {
		t.Run(name, func(t *testing.T) {
			variables, err := CompileVariables([]v1alpha1.Variable{{Name: "v", Expression: tc.expression}})
			if err != nil {
				t.Fatal(err)
			}
			message := aMessage(tc.body)
			message.Attributes = queue.Attributes{"tell-nobody-either": {DataType: "String", StringValue: "tell-nobody"}}
			got, err := variables.Evaluate(t.Context(), message)
			if tc.want == "" {
				if err != nil {
					t.Errorf("rejected: %v", err)
				}
				return
			}
			var rejection *RejectionError
			if !errors.As(err, &rejection) || !strings.Contains(rejection.Message, tc.want) {
				t.Fatalf("got %.100v and %v, want a rejection with %q", got, err, tc.want)
			}
			if quoted := strings.Contains(rejection.Message, "tell") || strings.Contains(rejection.Message, "4711"); quoted {
				t.Errorf("it quotes the message: %s", rejection.Message)
			}
		})
	}
}

// What cannot be read back from a Job is told in the answer to a requeue.
func TestADamagedMessageIsNotQuoted(t *testing.T) {
	binding := aBinding()
	message := aMessage("x")
	message.Attributes = queue.Attributes{"tell-nobody": {DataType: "Binary", BinaryValue: []byte{1}}}
	for name, damaged := range map[string]string{"no JSON": "tell-nobody", "no base64": `{"tell-nobody":"tell-nobody!"}`} {
		t.Run(name, func(t *testing.T) {
			job := rendered(t, binding, message)
			job.Spec.Template.Annotations[v1alpha1.AnnotationAttributes] = damaged
			_, err := MessageOf(job, nil)
			if err == nil || strings.Contains(err.Error(), "tell") || strings.Contains(err.Error(), "'t") || strings.Contains(err.Error(), "'e'") {
				t.Errorf("got %v, want an error that does not quote", err)
			}
		})
	}
}
