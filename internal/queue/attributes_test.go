package queue

import (
	"strings"
	"testing"
)

func TestOutgoingIsRefusedWhereSQSWouldRefuseIt(t *testing.T) {
	text := func(value string) Attribute { return Attribute{DataType: "String", StringValue: value} }
	many := Attributes{}
	for name := range strings.SplitSeq("a b c d e f g h i j k", " ") {
		many[name] = text("x")
	}
	for name, tc := range map[string]struct {
		message Outgoing
		want    string
	}{
		"plain":             {message: Outgoing{Body: "{}"}},
		"emoji and newline": {message: Outgoing{Body: "🎉\n\t"}},
		"whole mebibyte":    {message: Outgoing{Body: strings.Repeat("x", MaxMessageBytes)}},
		"custom type":       {message: Outgoing{Body: "x", Attributes: Attributes{"a": {DataType: "Binary.png", BinaryValue: []byte{0}}}}},
		"empty":             {message: Outgoing{}, want: "empty"},
		"not UTF-8":         {message: Outgoing{Body: "\xff"}, want: "UTF-8"},
		"control character": {message: Outgoing{Body: "a\x00b"}, want: "control character"},
		"one byte too many": {message: Outgoing{Body: strings.Repeat("x", MaxMessageBytes), Attributes: Attributes{"a": text("x")}}, want: "1048584 bytes"},
		"eleven attributes": {message: Outgoing{Body: "x", Attributes: many}, want: "at most 10"},
		"slash in a name":   {message: Outgoing{Body: "x", Attributes: Attributes{"a/b": text("x")}}, want: "a name that SQS refuses"},
		"reserved name":     {message: Outgoing{Body: "x", Attributes: Attributes{"AWS.x": text("x")}}, want: "a name that SQS refuses"},
		"dots in a row":     {message: Outgoing{Body: "x", Attributes: Attributes{"a..b": text("x")}}, want: "a name that SQS refuses"},
		"unknown type":      {message: Outgoing{Body: "x", Attributes: Attributes{"a": {DataType: "Text", StringValue: "x"}}}, want: "a type that SQS does not know"},
		"empty value":       {message: Outgoing{Body: "x", Attributes: Attributes{"a": text("")}}, want: "is empty"},
		"lineage has room":  {message: Outgoing{Body: "x", Attributes: Attributes{"queuebinding.dev.lineage": text("x")}}},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.message.Validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			case err != nil && ReasonOf(err) != InvalidMessage:
				t.Errorf("reason %s, want %s", ReasonOf(err), InvalidMessage)
			}
		})
	}
}
