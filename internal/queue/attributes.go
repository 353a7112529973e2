package queue

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// SQS's limits on what is sent.
const (
	// MaxAttributes is the most attributes of a message.
	MaxAttributes = 10
	// MaxMessageBytes is the most bytes of a message: its body and the names, types and values of its attributes.
	MaxMessageBytes = 1 << 20
	// maxAttributeNameLength is the longest name of an attribute, in characters; that of a type is the same.
	maxAttributeNameLength = 256
)

var (
	attributeName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	attributeType = regexp.MustCompile(`^(String|Number|Binary)(\..+)?$`)
)

// Attribute is a message attribute.
type Attribute struct {
	// DataType is String, Number or Binary, each with an optional custom label after a dot.
	DataType string
	// StringValue is the value, but for binary types.
	StringValue string
	// BinaryValue is the value of binary types.
	BinaryValue []byte
}

// IsBinary reports whether the value is BinaryValue.
func (a Attribute) IsBinary() bool {
	return a.DataType == "Binary" || strings.HasPrefix(a.DataType, "Binary.")
}

// Text is the value as a string; a binary one in base64.
func (a Attribute) Text() string {
	if a.IsBinary() {
		return base64.StdEncoding.EncodeToString(a.BinaryValue)
	}
	return a.StringValue
}

// Attributes are message attributes by name.
type Attributes map[string]Attribute

// Texts are the values as strings, by name.
func (as Attributes) Texts() map[string]string {
	texts := make(map[string]string, len(as))
	for name, a := range as {
		texts[name] = a.Text()
	}
	return texts
}

// Names are the names in order.
func (as Attributes) Names() []string { return slices.Sorted(maps.Keys(as)) }

// Size is how many bytes SQS counts for the attributes.
func (as Attributes) Size() int {
	size := 0
	for name, a := range as {
		size += len(name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return size
}

// Size is how many bytes SQS counts for the message.
func (m Outgoing) Size() int { return len(m.Body) + m.Attributes.Size() }

// Validate says why SQS would not take the message: an *Error of reason InvalidMessage, or nil.
func (m Outgoing) Validate() error {
	switch {
	case m.Body == "":
		return Errorf(InvalidMessage, "the body is empty; SQS takes at least one character")
	case !utf8.ValidString(m.Body):
		return Errorf(InvalidMessage, "the body is not UTF-8")
	case strings.ContainsFunc(m.Body, refused):
		return Errorf(InvalidMessage, "the body holds a control character that SQS refuses")
	case len(m.Attributes) > MaxAttributes:
		return Errorf(InvalidMessage, "%d attributes; SQS takes at most %d", len(m.Attributes), MaxAttributes)
	case m.Size() > MaxMessageBytes:
		return Errorf(InvalidMessage, "%d bytes of body and attributes; SQS takes at most %d", m.Size(), MaxMessageBytes)
	}
	for _, name := range m.Attributes.Names() {
		if err := m.Attributes[name].validate(name); err != nil {
			return err
		}
	}
	return nil
}

func (a Attribute) validate(name string) error {
	lower := strings.ToLower(name)
	switch {
	case !attributeName.MatchString(name), len(name) > maxAttributeNameLength,
		strings.HasPrefix(name, "."), strings.HasSuffix(name, "."), strings.Contains(name, ".."),
		strings.HasPrefix(lower, "aws."), strings.HasPrefix(lower, "amazon."):
		return Errorf(InvalidMessage, "an attribute has a name that SQS refuses")
	case !attributeType.MatchString(a.DataType), len(a.DataType) > maxAttributeNameLength:
		return Errorf(InvalidMessage, "an attribute has a type that SQS does not know")
	case a.IsBinary() && len(a.BinaryValue) == 0, !a.IsBinary() && a.StringValue == "":
		return Errorf(InvalidMessage, "an attribute is empty, which SQS refuses")
	}
	return nil
}

// refused tells the characters that SQS refuses in a body: those that XML 1.0 has no way to write.
func refused(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r':
		return false
	case r < 0x20, r == 0xFFFE, r == 0xFFFF:
		return true
	}
	return false
}
