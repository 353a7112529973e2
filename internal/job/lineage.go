package job

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Lineage says which attempt at which message a Job or a message is. A message and attempt have one Job.
type Lineage struct {
	// Root is the ID of the message as it was first sent.
	Root string
	// Attempt counts from 1.
	Attempt int
}

const (
	// nameSuffixLength is the number of base32 characters in a Job's name: 60 bits, so that a binding with a million
	// Jobs has a chance of one in two million of ever seeing a collision. A collision is found and loses nothing.
	nameSuffixLength = 12
	// maxRootLength bounds what a lineage attribute may bring along. SQS's message IDs have 36 characters.
	maxRootLength = 128
	// digestLength is the number of hexadecimal characters of a digest.
	digestLength = 32
)

// lowerBase32 has only characters that a DNS label may have.
var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// LineageOf is the lineage that a received message carries, or the first attempt at the message itself.
func LineageOf(message *queue.Message) Lineage {
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
	if err != nil || attempt < 1 || parts[0] == "" || len(parts[0]) > maxRootLength {
		return own
	}
	// A worker may copy the attributes of its message to messages of its own. Those are new messages.
	if parts[2] != digest(message.Body, message.Attributes) {
		return own
	}
	return Lineage{Root: parts[0], Attempt: attempt}
}

// Next is the lineage of the next attempt.
func (l Lineage) Next() Lineage { return Lineage{Root: l.Root, Attempt: l.Attempt + 1} }

// Attribute is the message attribute that carries the lineage with a message of this body and these attributes.
func (l Lineage) Attribute(body string, attributes queue.Attributes) queue.Attribute {
	return queue.Attribute{
		DataType:    "String",
		StringValue: fmt.Sprintf("%s/%d/%s", l.Root, l.Attempt, digest(body, attributes)),
	}
}

// JobName is the name of the one Job of this lineage, at most 63 characters for a valid binding name.
func (l Lineage) JobName(bindingName string, bindingUID types.UID) string {
	h := sha256.New()
	writeField(h, []byte(bindingUID))
	writeField(h, []byte(l.Root))
	writeField(h, []byte(strconv.Itoa(l.Attempt)))
	return bindingName + "-" + lowerBase32.EncodeToString(h.Sum(nil))[:nameSuffixLength]
}

// MessageLabel is the value of the label that all attempts at the message share.
func (l Lineage) MessageLabel() string {
	sum := sha256.Sum256([]byte(l.Root))
	return lowerBase32.EncodeToString(sum[:])[:2*nameSuffixLength]
}

// digest sums up a message's body and attributes, the lineage aside.
func digest(body string, attributes queue.Attributes) string {
	h := sha256.New()
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
	return hex.EncodeToString(h.Sum(nil))[:digestLength]
}

// writeField writes the length first, so that no two lists of fields give the same bytes.
func writeField(h hash.Hash, field []byte) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(field)))
	h.Write(length[:])
	h.Write(field)
}
