package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// printEnvironment prints all that the kernel gave the process, unread by any shell.
var printEnvironment = []string{"base64", "/proc/self/environ"}

// decoded is what a container printed in base64.
func decoded(printed string) string {
	GinkgoHelper()
	data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(printed, "\n", ""))
	Expect(err).NotTo(HaveOccurred())
	return string(data)
}

// variables are those of an environment as the kernel keeps it. A name that is there twice is a failure.
func variables(environ string) map[string]string {
	GinkgoHelper()
	found := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(environ, "\x00"), "\x00") {
		name, value, ok := strings.Cut(entry, "=")
		Expect(ok).To(BeTrue(), "%q is no variable", entry)
		Expect(found).NotTo(HaveKey(name))
		found[name] = value
	}
	return found
}

// hostile are values that something on the way could read as more than text.
var hostile = map[string]string{
	"references":     `$(HOME) $(text) $(QUEUEBINDING_MESSAGE_ID) $(nothing) $(`,
	"dollars":        `$$(HOME) $$ $$$ $HOME ${HOME} $`,
	"quotes":         "\"double\" 'single' `backtick` \\ \\n \\\"",
	"lines":          "one\ntwo\r\n\n\tthree\n",
	"emoji":          "🎉 naïve 日本語 👩‍👩‍👧 \u202e",
	"manifest":       "}}\n---\nkind: Pod\n- {a: b} # c\n",
	"shell":          `; rm -rf / | $(reboot) && ! *`,
	"nothing":        "",
	"100 KiB":        strings.Repeat("0123456789abcde\n", 100<<10/16),
	"bytes of UTF-8": "\u0001\u007f\u0080\uffff\U0010ffff",
}

// escaped is a message with a text, as JSON in plain ASCII: the emulator refuses some characters that SQS takes.
func escaped(text string) string {
	GinkgoHelper()
	body, err := json.Marshal(map[string]any{"text": text, "number": json.Number("9007199254740993"), "flag": true, "object": map[string]any{"a": []int{1}}})
	Expect(err).NotTo(HaveOccurred())
	var plain strings.Builder
	for _, r := range string(body) {
		switch {
		case r < 0x7f:
			plain.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&plain, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&plain, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return plain.String()
}

func text(value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
}

var _ = Describe("The environment of a container", func() {
	It("is the message, byte for byte, whatever it holds", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		work := busybox(printEnvironment...)
		work.Env = []corev1.EnvVar{
			{Name: "mine", Value: "own"},
			{Name: "made", Value: "<$(text)>"},
			{Name: "taken", Value: "by the template"},
		}
		first := busybox(printEnvironment...)
		first.Name = "first"
		// Kubernetes replaces the reference in an argument, and no shell sees it.
		argument := busybox("sh", "-c", `printf %s "$1" | base64`, "sh", "$(text)")
		argument.Name = "argument"
		binding := w.binding(ctx, work, func(b *v1alpha1.QueueBinding) {
			b.Spec.Concurrency.MaxActiveJobs = new(int32(5))
			b.Spec.Message.Variables = []v1alpha1.Variable{
				{Name: "text", Expression: "message.json.text"},
				{Name: "number", Expression: "message.json.number"},
				{Name: "flag", Expression: "message.json.flag"},
				{Name: "object", Expression: "message.json.object"},
				{Name: "both", Expression: "message.attributes.color + ' ' + message.id"},
				{Name: "taken", Expression: "'by the message'"},
			}
			spec := &b.Spec.JobTemplate.Spec.Template.Spec
			spec.InitContainers = []corev1.Container{first}
			spec.Containers = append(spec.Containers, argument)
		})

		sent := map[string]string{} // bodies by message ID
		ids := map[string]string{}  // by name
		for name, value := range hostile {
			body := escaped(value)
			ids[name] = w.send(ctx, body, map[string]types.MessageAttributeValue{
				"color": text("red $(HOME) \"\n"),
				"size":  {DataType: aws.String("Number"), StringValue: aws.String("12345678901234567890")},
				"raw":   {DataType: aws.String("Binary"), BinaryValue: []byte{0, 0xff, '\n'}},
			})
			sent[ids[name]] = body
		}
		Eventually(status(ctx, binding)).Should(counts(0, int32(len(hostile)), 0))

		for name, value := range hostile {
			By(name)
			id := ids[name]
			want := map[string]string{
				"QUEUEBINDING_MESSAGE_ID":         id,
				"QUEUEBINDING_MESSAGE_BODY":       sent[id],
				"QUEUEBINDING_MESSAGE_ATTRIBUTES": `{"color":"red $(HOME) \"\n","raw":"AP8K","size":"12345678901234567890"}`,
				"QUEUEBINDING_ATTEMPT":            "1",
				"QUEUEBINDING_QUEUE_URL":          w.url,
				"QUEUEBINDING_NAME":               "work",
				"text":                            value,
				"number":                          "9007199254740993",
				"flag":                            "true",
				"object":                          `{"a":[1]}`,
				"both":                            "red $(HOME) \"\n " + id,
				"taken":                           "by the message",
			}
			expectVariables(decoded(w.printed(ctx, id, "first")), want)
			// The template's own variables come after, may refer to the message's, and win where names collide.
			want["mine"], want["made"], want["taken"] = "own", "<"+value+">", "by the template"
			expectVariables(decoded(w.printed(ctx, id, "work")), want)
			Expect(decoded(w.printed(ctx, id, "argument"))).To(Equal(value))
		}
	})
})

// expectVariables looks for variables, and for others that begin as the operator's own.
func expectVariables(environ string, want map[string]string) {
	GinkgoHelper()
	got := variables(environ)
	for name, value := range want {
		// Not by a matcher, which would print 100 KiB.
		if got[name] != value {
			Fail(fmt.Sprintf("%s is %.200q, want %.200q", name, got[name], value))
		}
	}
	for name := range got {
		if _, ok := want[name]; strings.HasPrefix(name, "QUEUEBINDING_") && !ok {
			// Kubernetes adds one for each Service of the namespace, of which there are none.
			Fail("there is a variable " + name)
		}
	}
}
