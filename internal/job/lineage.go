package job

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// Lineage says which attempt at which message a Job or a message is. A message and attempt have one Job.
type Lineage struct {
	// Root is the ID of the message as it was first sent.
	Root string
	// Attempt counts from 1.
	Attempt int
}

// MaxAttempts bounds the attempts at a message. SQS counts at most 1,000 receives before it moves a message to its dead-letter
// queue, and a requeue takes a Job that failed: one a minute comes to two years. Whoever may edit Jobs can write any number on
// them, and what counts up from there must come to an end.
const MaxAttempts = 1_000_000

const (
	// nameSuffixLength is the number of base32 characters in a Job's name: 60 bits, so that a binding with a million
	// Jobs has a chance of one in two million of ever seeing a collision. A collision is found and loses nothing.
	nameSuffixLength = 12
	// maxRootLength bounds what a lineage attribute may bring along. SQS's message IDs have 36 characters.
	maxRootLength = 128
)

// lowerBase32 has only characters that a DNS label may have.
var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Next is the lineage of the next attempt. After MaxAttempts there is none: the error is a *RejectionError.
func (l Lineage) Next() (Lineage, error) {
	if l.Attempt >= MaxAttempts {
		return Lineage{}, rejectf(v1alpha1.RejectedTooManyAttempts, "the message has had %d attempts, and there are no more", MaxAttempts)
	}
	return Lineage{Root: l.Root, Attempt: l.Attempt + 1}, nil
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

// writeField writes the length first, so that no two lists of fields give the same bytes.
func writeField(h hash.Hash, field []byte) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(field)))
	h.Write(length[:])
	h.Write(field)
}
