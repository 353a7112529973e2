package job

import (
	"errors"
	"strings"
	"testing"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// endless is an expression of a million steps for a list of ten.
var endless = func() string {
	inner := "true"
	for v := range strings.SplitSeq("abcdef", "") {
		inner = "message.json.all(" + v + ", " + inner + ")"
	}
	return inner
}()

func TestVariables(t *testing.T) {
	for name, tc := range map[string]struct {
		body, expression string
		want             string
		wantRejection    string // part of the message
	}{
		"string":                          {body: `{"target": "127.0.0.1"}`, expression: "message.json.target", want: "127.0.0.1"},
		"whole number":                    {body: `{"n": 10}`, expression: "message.json.n", want: "10"},
		"number beyond 2^53":              {body: `{"n": 9007199254740993}`, expression: "message.json.n", want: "9007199254740993"},
		"number beyond 2^63":              {body: `{"n": 18446744073709551615}`, expression: "message.json.n", want: "18446744073709551615"},
		"number beyond 2^64":              {body: `{"n": 123456789012345678901234567890}`, expression: "message.json.n", want: "123456789012345678901234567890"},
		"number beyond 2^53 in an object": {body: `{"o": {"n": 9007199254740993}}`, expression: "message.json.o", want: `{"n":9007199254740993}`},
		"sum of large numbers":            {body: `{"n": 9007199254740993}`, expression: "message.json.n + 1", want: "9007199254740994"},
		"fraction":                        {body: `{"n": 2.50}`, expression: "message.json.n", want: "2.5"},
		"bool":                            {body: `{"b": true}`, expression: "message.json.b", want: "true"},
		"list":                            {body: `{"l": [1, "<a>", null]}`, expression: "message.json.l", want: `[1,"<a>",null]`},
		"list made by the expression":     {body: `x`, expression: `["a", message.body]`, want: `["a","x"]`},
		"dollar, quotes and newline":      {body: `{"s": "$(HOME) \"'\n"}`, expression: "message.json.s", want: "$(HOME) \"'\n"},
		"emoji":                           {body: `{"s": "🎉"}`, expression: "message.json.s", want: "🎉"},
		"whole body":                      {body: "not: json\n", expression: "message.body", want: "not: json\n"},
		"message ID":                      {body: "x", expression: "message.id", want: aMessage("").ID},
		"attribute":                       {body: "x", expression: "message.attributes.color", want: "red"},
		"binary attribute":                {body: "x", expression: "message.attributes['raw']", want: "AP8="},
		"no lineage among attributes":     {body: "x", expression: "size(message.attributes)", want: "2"},
		"receive count":                   {body: "x", expression: "message.receiveCount", want: "1"},
		"time":                            {body: "x", expression: "message.sentTime", want: "2023-11-14T22:13:20Z"},
		"default for a missing key":       {body: `{}`, expression: "message.json.?duration.orValue(10)", want: "10"},
		"default for a body not JSON":     {body: `x`, expression: "message.json == null ? 'none' : 'some'", want: "none"},
		"missing key":                     {body: `{}`, expression: "message.json.target", wantRejection: "no such key: target"},
		"missing key, optional":           {body: `{}`, expression: "message.json.?target", wantRejection: "null"},
		"null":                            {body: `{"target": null}`, expression: "message.json.target", wantRejection: "null"},
		"not JSON":                        {body: `target: x`, expression: "message.json.target", wantRejection: "the body is not JSON"},
		"two values":                      {body: `{} {}`, expression: "message.json.target", wantRejection: "the body is not JSON"},
		"blank":                           {body: " ", expression: "message.json.target", wantRejection: "it is blank"},
		"NUL":                             {body: `{"s": "a\u0000b"}`, expression: "message.json.s", wantRejection: "NUL"},
		"division by zero":                {body: `{"n": 0}`, expression: "1 / message.json.n", wantRejection: "division by zero"},
		"endless work":                    {body: `[1,2,3,4,5,6,7,8,9,10]`, expression: endless, wantRejection: "cost"},
	} {
		t.Run(name, func(t *testing.T) {
			variables, err := CompileVariables([]v1alpha1.Variable{{Name: "v", Expression: tc.expression}})
			if err != nil {
				t.Fatalf("does not compile: %v", err)
			}
			message := aMessage(tc.body)
			message.Attributes = queue.Attributes{
				"color":                   {DataType: "String", StringValue: "red"},
				"raw":                     {DataType: "Binary", BinaryValue: []byte{0, 0xff}},
				v1alpha1.AttributeLineage: {DataType: "String", StringValue: "x"},
			}
			got, err := variables.Evaluate(t.Context(), message)
			if tc.wantRejection != "" {
				var rejection *RejectionError
				if !errors.As(err, &rejection) || !strings.Contains(rejection.Message, tc.wantRejection) {
					t.Fatalf("got %v and %v, want a rejection with %q", got, err, tc.wantRejection)
				}
				return
			}
			if err != nil {
				t.Fatalf("rejected: %v", err)
			}
			if got[0].Value != tc.want {
				t.Errorf("got %q, want %q", got[0].Value, tc.want)
			}
		})
	}
}

func TestExpressionsThatDoNotCompileAreNamedWithTheirPlace(t *testing.T) {
	for name, tc := range map[string]struct{ expression, want string }{
		"misspelt field":   {"message.bdy", "line 1, column 8: undefined field 'bdy'"},
		"unknown variable": {"1 + messages.id", "line 1, column 5: undeclared reference to 'messages'"},
		"syntax":           {"message.json.target +", "line 1, column 22"},
		"second line":      {"message.id +\n 1", "line 1, column 12: found no matching overload"},
		"types":            {"message.receiveCount + message.id", "found no matching overload"},
		"the message":      {"message", "choose a field"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := CompileVariables([]v1alpha1.Variable{{Name: "fine", Expression: "1"}, {Name: "broken", Expression: tc.expression}})
			var e *ExpressionError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *ExpressionError", err)
			}
			if want := "spec.message.variables[1].expression (broken): "; !strings.HasPrefix(e.Error(), want) || !strings.Contains(e.Error(), tc.want) {
				t.Errorf("got %q, want %q and %q", e, want, tc.want)
			}
		})
	}
}
