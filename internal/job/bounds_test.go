package job

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// allocated returns how many bytes are allocated by a call, garbage included.
func allocated(call func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

const secret = "tell-nobody"

// doubled nests so many macros that each make a list of twice what is within.
func doubled(inner, twice string, times int) string {
	for range times {
		inner = "[" + inner + "].map(x, " + twice + ")[0]"
	}
	return inner
}

// many repeats a JSON value up to the size of SQS's largest message.
func many(value string) string {
	return "[" + strings.Repeat(value+",", (queue.MaxMessageBytes-2)/(len(value)+1)-1) + value + "]"
}

// P5: whatever is sent or written, an evaluation stays within the bytes that it was let in with, and says so without quoting.
func TestBombsAreRejectedBeforeTheyAllocate(t *testing.T) {
	small := `{"s": "` + strings.Repeat(secret, 10) + `", "l": ["` + secret + `"]}`
	large := `{"s": "` + strings.Repeat("a", 1000<<10) + `", "l": ["` + secret + `"]}`
	for name, tc := range map[string]struct {
		body, expression, wantReason string
	}{
		"replace that multiplies":        {large, "message.json.s.replace('a', message.json.s)", v1alpha1.RejectedTooLarge},
		"replace of nothing":             {large, "message.json.s.replace('', message.json.s)", v1alpha1.RejectedTooLarge},
		"replace of replace":             {small, doubled("message.body", "x.replace('t', x)", 6), v1alpha1.RejectedTooLarge},
		"replace by number":              {large, "message.json.s.replace('a', message.json.s, 1000000)", v1alpha1.RejectedTooLarge},
		"join with a long separator":     {large, "message.json.s.split('').join(message.json.s)", v1alpha1.RejectedExpressionFailed},
		"join of one many times":         {large, "message.json.s.split('').map(x, message.json.s).join()", v1alpha1.RejectedExpressionFailed},
		"split to characters, again":     {large, "message.json.s.split('').map(x, message.json.s.split(''))", v1alpha1.RejectedExpressionFailed},
		"format with padding":            {small, "'" + strings.Repeat("%.99f", 400) + "'.format([" + strings.Repeat("1.0,", 399) + "1.0])", ""},
		"format of format":               {large, doubled("message.json.s", "'%s%s'.format([x, x])", 8), v1alpha1.RejectedTooLarge},
		"text doubled":                   {small, doubled("message.body", "x + x", 20), v1alpha1.RejectedTooLarge},
		"text doubled, dynamically":      {small, doubled("message.json.s", "x + x", 20), v1alpha1.RejectedTooLarge},
		"list doubled":                   {small, doubled("message.json.l", "x + x", 24), v1alpha1.RejectedTooLarge},
		"list of itself twice":           {small, doubled("message.json.l", "[x, x]", 24), v1alpha1.RejectedTooLarge},
		"the same as JSON":               {small, "json.encode(" + doubled("message.json.l", "[x, x]", 23) + ")", v1alpha1.RejectedTooLarge},
		"the same formatted":             {small, "'%s'.format([" + doubled("message.json.l", "[x, x]", 23) + "])", v1alpha1.RejectedTooLarge},
		"the same compared":              {small, doubled("message.json.l", "[x, x]", 17) + " == " + doubled("message.json.l", "[x, x]", 17), v1alpha1.RejectedTooLarge},
		"map of itself twice":            {small, doubled("message.json", "{'a': x, 'b': x}", 24), v1alpha1.RejectedTooLarge},
		"long lists in a macro":          {many("1"), "message.json.map(x, [" + strings.Repeat("1,", 1500) + "1])", v1alpha1.RejectedTooLarge},
		"attributes in a macro":          {many("1"), "message.json.map(x, message.attributes.a + 'x')", v1alpha1.RejectedExpressionFailed},
		"quotes":                         {large, doubled("message.json.s", "strings.quote(strings.quote(x))", 5), v1alpha1.RejectedTooLarge},
		"base64":                         {large, doubled("message.json.s", "base64.encode(bytes(x))", 10), v1alpha1.RejectedTooLarge},
		"case, in a macro":               {many("1"), "message.json.map(x, message.body.upperAscii())", v1alpha1.RejectedExpressionFailed},
		"a regular expression, repeated": {small, "message.body.matches('" + strings.Repeat("(x{999})", 100) + "')", v1alpha1.RejectedTooLarge},
		"a regular expression, long":     {large, "message.body.matches(message.json.s)", v1alpha1.RejectedTooLarge},
		"a search at each place":         {large, "message.json.s.indexOf(message.json.s.substring(500000) + 'b')", v1alpha1.RejectedTooLarge},
		"hidden behind or":               {large, "message.json.s.replace('a', message.json.s) == 'x' || true", v1alpha1.RejectedTooLarge},
		"deep lists":                     {strings.Repeat("[", 9999) + strings.Repeat("]", 9999), "message.json", v1alpha1.RejectedTooLarge},
		"deep objects":                   {strings.Repeat(`{"a":`, 9999) + "1" + strings.Repeat("}", 9999), "message.json.a", v1alpha1.RejectedTooLarge},
		"a million values":               {many("1"), "message.json", v1alpha1.RejectedTooLarge},
		"small objects":                  {many(`{"":0}`), "message.json", v1alpha1.RejectedTooLarge},
		"a megabyte of digits":           {`{"n": ` + strings.Repeat("9", 1000<<10) + `}`, "message.json.n", v1alpha1.RejectedTooLarge},
		"a megabyte of fraction":         {`{"n": 0.` + strings.Repeat("9", 1000<<10) + `}`, "message.json.n == 1.0 ? 1 : [][0]", ""},
		"a huge exponent":                {`{"n": 1e999999999}`, "message.json.n + 1", v1alpha1.RejectedExpressionFailed},
	} {
		t.Run(name, func(t *testing.T) {
			variables, err := CompileVariables([]v1alpha1.Variable{{Name: "v", Expression: tc.expression}})
			if err != nil {
				t.Fatalf("does not compile: %v", err)
			}
			if _, err := recentPrograms.get(tc.expression); err != nil {
				t.Fatal(err)
			}
			binding, message := aBinding("v", tc.expression), aMessage(tc.body)
			binding.Spec.Message.Delivery = v1alpha1.DeliverFile
			message.Attributes = queue.Attributes{"a": {DataType: "Binary", BinaryValue: make([]byte, 10<<10)}}
			got := allocated(func() { _, err = variables.Evaluate(t.Context(), message) })
			if most := EvaluationBytes(binding, message); got > most {
				t.Errorf("allocated %d KiB, want at most the %d KiB that it was let in with", got>>10, most>>10)
			}
			var rejection *RejectionError
			switch errors.As(err, &rejection); {
			case tc.wantReason == "" && err != nil:
				t.Errorf("rejected: %v", err)
			case tc.wantReason != "" && (rejection == nil || rejection.Reason != tc.wantReason):
				t.Errorf("got %v, want a rejection for %s", err, tc.wantReason)
			case rejection != nil && (strings.Contains(rejection.Message, secret) || len(rejection.Message) > 300):
				t.Errorf("the rejection quotes the message: %.1000s", rejection.Message)
			}
		})
	}
}

// The weight of a message is what decides how many are parsed at a time.
func TestJSONTakesNoMoreThanItWasLetInWith(t *testing.T) {
	fields := strings.Builder{}
	for i := 0; fields.Len() < 1000<<10; i++ {
		fmt.Fprintf(&fields, `"%x":1,`, i)
	}
	for name, body := range map[string]string{
		"empty objects": many("{}"), "empty lists": many("[]"), "one member": many(`{"a":1}`), "the least member": many(`{"":0}`),
		"numbers": many("1"), "fractions": many("1.5"), "strings": many(`""`), "words": many("null"), "lists in lists": many("[[]]"),
		"nine members": many(`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}`), "long strings": many(`"` + strings.Repeat("x", 1000) + `"`),
		"fields": "{" + fields.String() + `"":0}`, "small": many(`{"":0}`)[:700] + "]", "escapes": many(`"\"\\"`),
	} {
		t.Run(name, func(t *testing.T) {
			binding, message := aBinding("v", "message.json"), aMessage(body)
			binding.Spec.Message.Delivery = v1alpha1.DeliverFile
			got := allocated(func() { _, _ = parseJSON(body) })
			if most := EvaluationBytes(binding, message); got > most {
				t.Errorf("%d bytes of JSON allocated %d KiB, want at most %d KiB", len(body), got>>10, most>>10)
			}
		})
	}
}

func TestWhatADeliveryCannotTakeIsNotEvaluated(t *testing.T) {
	body := many(`{"":0}`)
	attributes := queue.Attributes{"a": {DataType: "String", StringValue: strings.Repeat("x", 121<<10)}}
	for name, tc := range map[string]struct {
		delivery   v1alpha1.Delivery
		body       string
		attributes queue.Attributes
	}{
		"a body beyond an environment variable":     {v1alpha1.DeliverEnv, body, nil},
		"attributes beyond an environment variable": {v1alpha1.DeliverEnv, `{}`, attributes},
		"a body beyond a Secret":                    {v1alpha1.DeliverFile, body + strings.Repeat(" ", 100), nil},
		"attributes beyond a Secret":                {v1alpha1.DeliverFile, `{}`, queue.Attributes{"a": {DataType: "Binary", BinaryValue: make([]byte, 800<<10)}}},
	} {
		t.Run(name, func(t *testing.T) {
			binding := aBinding("v", "message.json[0]")
			binding.Spec.Message.Delivery = tc.delivery
			message := aMessage(tc.body)
			message.Attributes = tc.attributes
			var err error
			got := allocated(func() { _, err = tryRender(t, binding, message) })
			var rejection *RejectionError
			if !errors.As(err, &rejection) || rejection.Reason != v1alpha1.RejectedTooLarge {
				t.Fatalf("got %v, want a rejection for its size", err)
			}
			if most := int64(8 << 20); got > most { // copies of the message
				t.Errorf("allocated %d KiB before it was rejected", got>>10)
			}
		})
	}
}

// A function that a later CEL brings along has to be looked at.
func TestEveryFunctionOfCELIsBounded(t *testing.T) {
	makesLittle := strings.Fields(`!_ -_ @not_strictly_false __not_strictly_false__ _%_ _&&_ _*_ _-_ _/_ _<=_ _<_ _>=_ _>_ _?._ _?_:_ _[?_] _[_] _||_
		bool contains double duration dyn endsWith first getDate getDayOfMonth getDayOfWeek getDayOfYear getFullYear getHours getMilliseconds
		getMinutes getMonth getSeconds hasValue int last optional.none optional.of optional.ofNonZeroValue or orValue size startsWith
		timestamp trim type uint value`)
	for name := range environment.Functions() {
		if _, ok := estimates[name]; !ok && !slices.Contains(makesLittle, name) {
			t.Errorf("nothing is known of what %s makes", name)
		}
	}
}

func TestEstimatesAreNeverLess(t *testing.T) {
	text := types.String(strings.Repeat("a,", 500))
	for name, tc := range map[string]struct {
		function string
		args     []ref.Val
		want     int64
	}{
		"replace":               {"replace", []ref.Val{text, types.String("a"), types.String("bbb")}, 500*4 + 0},
		"replace to less":       {"replace", []ref.Val{text, types.String("a,"), types.String("")}, 0},
		"replace nothing":       {"replace", []ref.Val{text, types.String(""), types.String("b")}, 2001},
		"replace twice":         {"replace", []ref.Val{text, types.String("a"), types.String("bbb"), types.Int(2)}, 1004},
		"split":                 {"split", []ref.Val{text, types.String(",")}, 16 * 501},
		"join":                  {"join", []ref.Val{types.DefaultTypeAdapter.NativeToValue([]string{"aa", "bb"}), types.String("---")}, 7},
		"text added":            {"_+_", []ref.Val{text, text}, 2000},
		"list added":            {"_+_", []ref.Val{types.DefaultTypeAdapter.NativeToValue([]string{"a"}), types.DefaultTypeAdapter.NativeToValue([]string{"b", "c"})}, 48},
		"JSON":                  {"json.encode", []ref.Val{text}, 1002},
		"a regular expression":  {"matches", []ref.Val{text, types.String("(a{10}){20}")}, 512 * 200},
		"a broken expression":   {"matches", []ref.Val{text, types.String("(")}, 0},
		"not the expected type": {"replace", []ref.Val{types.Int(1), types.Int(2), types.Int(3)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := estimates[tc.function](tc.args, 1<<20); got < tc.want {
				t.Errorf("estimated %d bytes, want at least %d", got, tc.want)
			}
		})
	}
}
