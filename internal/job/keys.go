package job

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Keys sign the lineage that a requeued message carries, and verify it. Whoever has no key can send a message, and cannot say
// whose next attempt it is. The zero value signs nothing and accepts nothing.
type Keys struct {
	// Current signs.
	Current []byte
	// Previous is accepted too, for what was signed before the last change of keys. It may be empty.
	Previous []byte
}

// Lineage is the lineage that a received message of a queue carries, or the first attempt at the message itself.
func (k Keys) Lineage(queueURL string, message *queue.Message) Lineage {
	own := Lineage{Root: message.ID, Attempt: 1}
	attribute, ok := message.Attributes[v1alpha1.AttributeLineage]
	if !ok {
		return own
	}
	parts := strings.Split(attribute.StringValue, "/")
	if len(parts) != 3 {
		return own
	}
	attempt, err := strconv.Atoi(parts[1])
	// The first attempt is the message as its producer sent it, without a lineage.
	if err != nil || attempt < 2 || attempt > MaxAttempts || parts[0] == "" || len(parts[0]) > maxRootLength {
		return own
	}
	carried := Lineage{Root: parts[0], Attempt: attempt}
	for _, key := range [][]byte{k.Current, k.Previous} {
		// With a signature that is another's, as a worker may have copied its message's attributes, it is a new message.
		if len(key) > 0 && hmac.Equal([]byte(parts[2]), []byte(signature(key, queueURL, carried, message.Body, message.Attributes))) {
			return carried
		}
	}
	return own
}

// Attribute is the message attribute that carries a lineage with a message of this queue, body and attributes.
func (k Keys) Attribute(queueURL string, lineage Lineage, body string, attributes queue.Attributes) queue.Attribute {
	return attributeOf(lineage, k.sign(queueURL, lineage, body, attributes))
}

// sign is the current key's signature, or empty where there is no key.
func (k Keys) sign(queueURL string, lineage Lineage, body string, attributes queue.Attributes) string {
	if len(k.Current) == 0 {
		return ""
	}
	return signature(k.Current, queueURL, lineage, body, attributes)
}

func attributeOf(lineage Lineage, signed string) queue.Attribute {
	return queue.Attribute{DataType: typeString, StringValue: fmt.Sprintf("%s/%d/%s", lineage.Root, lineage.Attempt, signed)}
}

// signature is the HMAC of a lineage and the message that carries it, the attribute for it aside.
func signature(key []byte, queueURL string, lineage Lineage, body string, attributes queue.Attributes) string {
	h := hmac.New(sha256.New, key)
	writeField(h, []byte(queueURL))
	writeField(h, []byte(lineage.Root))
	writeField(h, []byte(strconv.Itoa(lineage.Attempt)))
	writeField(h, []byte(body))
	for _, name := range attributes.Names() {
		if name == v1alpha1.AttributeLineage {
			continue
		}
		a := attributes[name]
		writeField(h, []byte(name))
		writeField(h, []byte(a.DataType))
		writeField(h, []byte(a.StringValue))
		writeField(h, a.BinaryValue)
	}
	return hex.EncodeToString(h.Sum(nil))
}
