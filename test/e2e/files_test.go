package e2e_test

import (
	"encoding/base64"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// sqsLimit is how large a message can be, attributes included.
const sqsLimit = 1 << 20

var _ = Describe("The files of a container", func() {
	It("are the message, byte for byte, up to what SQS takes", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		body := busybox("sh", "-c", `base64 "$QUEUEBINDING_MESSAGE_FILE"`)
		body.Name = "body"
		binding := w.binding(ctx, busybox(printEnvironment...), func(b *v1alpha1.QueueBinding) {
			b.Spec.Message.Delivery = v1alpha1.DeliverFile
			b.Spec.Message.Variables = []v1alpha1.Variable{{Name: "size", Expression: "size(message.body)"}}
			spec := &b.Spec.JobTemplate.Spec.Template.Spec
			attributes := busybox("base64", "/var/run/queuebinding/attributes.json")
			attributes.Name = "attributes"
			listing := busybox("sh", "-c", `cd /var/run/queuebinding && ls && { echo x >>body || echo cannot be written; } 2>/dev/null`)
			listing.Name = "listing"
			spec.InitContainers = []corev1.Container{listing}
			spec.Containers = append(spec.Containers, body, attributes)
		})
		attributes := map[string]types.MessageAttributeValue{
			"color": text("red $(HOME) \""),
			"raw":   {DataType: aws.String("Binary.gzip"), BinaryValue: []byte{0, 0xff}},
			"size":  {DataType: aws.String("Number"), StringValue: aws.String("7")},
		}
		room := sqsLimit
		for name, a := range attributes {
			room -= len(name) + len(*a.DataType) + len(aws.ToString(a.StringValue)) +
				base64.StdEncoding.EncodedLen(len(a.BinaryValue)) // as the emulator counts; SQS counts the bytes themselves
		}
		const line = "$(HOME) $$ \"'\\ \u00e9\n"
		whole := strings.Repeat(line, room/len(line)) + strings.Repeat("x", room%len(line))
		bodies := map[string]string{
			w.send(ctx, whole, attributes):                                whole,
			w.send(ctx, "$(HOME)\r\nwithout a last line end", attributes): "$(HOME)\r\nwithout a last line end",
		}
		Eventually(status(ctx, binding)).Should(counts(0, int32(len(bodies)), 0))
		Eventually(w.numbers(ctx)).Should(Equal(empty))
		for id, want := range bodies {
			Expect(decoded(w.printed(ctx, id, "body"))).To(Equal(want))
			Expect(decoded(w.printed(ctx, id, "attributes"))).To(Equal(
				`{"color":{"type":"String","value":"red $(HOME) \""},"raw":{"type":"Binary.gzip","binary":"AP8="},"size":{"type":"Number","value":"7"}}`))
			Expect(w.printed(ctx, id, "listing")).To(Equal("attributes.json\nbody\ncannot be written\n"))
			expectVariables(decoded(w.printed(ctx, id, "work")), map[string]string{
				"QUEUEBINDING_MESSAGE_ID":   id,
				"QUEUEBINDING_MESSAGE_FILE": "/var/run/queuebinding/body",
				"QUEUEBINDING_ATTEMPT":      "1",
				"QUEUEBINDING_QUEUE_URL":    w.url,
				"QUEUEBINDING_NAME":         "work",
			})
		}
	})
})
