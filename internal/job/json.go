package job

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	corev1 "k8s.io/api/core/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// maxDepth bounds how deep the JSON of a message may be nested: what reads it calls itself for each level.
	maxDepth = 1000
	// worthCounting is the size of a body whose values are counted, in bytes; smaller ones are taken for the worst.
	worthCounting = 4 << 10
	// maxDigits is the length of the longest whole number of 64 bits, its sign included.
	maxDigits = 20
	// worstJSON is how many bytes a byte of JSON may take while and after it is parsed: 83 of a list of objects of one field each.
	worstJSON = 90
)

// celMessage is a message as expressions see it. Its body is parsed once, and only if an expression asks.
type celMessage struct {
	*queue.Message
	parsed   bool
	value    any
	parseErr error
	// refused says why the body is not parsed though it may be JSON.
	refused    *RejectionError
	attributes map[string]string
}

// parse is the body as JSON, or nil where it is not JSON.
func (m *celMessage) parse() any {
	if m.parsed {
		return m.value
	}
	m.parsed = true
	if _, depth := weighJSON(m.Body); depth > maxDepth {
		m.refused = rejectf(v1alpha1.RejectedTooLarge, "the JSON of the body is nested %d levels deep; it may be %d", depth, maxDepth)
		return nil
	}
	m.value, m.parseErr = parseJSON(m.Body)
	return m.value
}

// texts are the attributes that a sender gave, as strings.
func (m *celMessage) texts() any {
	if m.attributes == nil {
		m.attributes = visible(m.Attributes).Texts()
	}
	return m.attributes
}

// hint explains a failed expression by a body that is not JSON, where that may be the cause.
func (m *celMessage) hint() string {
	if m.parseErr == nil {
		return ""
	}
	return fmt.Sprintf(" (message.json is null, as the body is not JSON: %v)", m.parseErr)
}

// weighJSON is about how many bytes a JSON text takes when it is parsed, garbage included and never less, and how deep it is nested.
// It reads the text once and makes nothing. Of what is not JSON it says anything.
func weighJSON(text string) (bytes int64, depth int) {
	level, deepest := 0, 0
	values, containers, members := int64(1), int64(0), int64(0)
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			containers++
			level++
			deepest = max(deepest, level)
		case '}', ']':
			level--
		case ',':
			values++
		case ':':
			members++
		}
	}
	// A map has room for eight members from the first on.
	return 6*int64(len(text)) + 112*values + 60*members + 64*containers + 300*min(containers, members), deepest
}

// EvaluationBytes is how many bytes Render may take at a time to evaluate the variables of a binding for a message: its body as
// JSON, and what one expression makes. It is 0 where there is nothing to evaluate.
func EvaluationBytes(binding *v1alpha1.QueueBinding, message *queue.Message) int64 {
	most := maxEnvironmentString
	if binding.Spec.Message.Delivery == v1alpha1.DeliverFile {
		most = corev1.MaxSecretSize
	}
	switch size := len(message.Body); {
	case len(binding.Spec.Message.Variables) == 0, size > most: // Render rejects it for its size
		return 0
	case size < worthCounting:
		return worstJSON*int64(size) + allowanceOf(message)
	}
	parsed, _ := weighJSON(message.Body)
	return parsed + allowanceOf(message)
}

// parseJSON parses one JSON value. Whole numbers become int64 or uint64 and stay exact; those beyond 64 bits become
// their digits, as a string, since a double would be another number. Its errors say where, and quote nothing.
func parseJSON(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		if err == io.EOF {
			return nil, errors.New("it is blank")
		}
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fmt.Errorf("byte %d is wrong", syntax.Offset)
		}
		return nil, errors.New("it ends too early")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the first value, which ends at character %d", decoder.InputOffset())
	}
	return exactNumbers(value), nil
}

func exactNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = exactNumbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = exactNumbers(v[i])
		}
	case json.Number:
		text := v.String()
		if strings.ContainsAny(text, ".eE") {
			if f, err := v.Float64(); err == nil {
				return f
			}
			return text // 1e999
		}
		if len(text) > maxDigits {
			return text
		}
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(text, 10, 64); err == nil {
			return u
		}
		return text
	}
	return value
}

// nativeOf makes Go values of CEL's that encoding/json writes without loss: CEL's own conversion turns large whole
// numbers into strings.
func nativeOf(value ref.Val) (any, error) {
	switch v := value.(type) {
	case types.Null:
		return nil, nil
	case types.String:
		return string(v), nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		return float64(v), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.String(), nil
	case *types.Optional:
		if !v.HasValue() {
			return nil, nil
		}
		return nativeOf(v.GetValue())
	case traits.Mapper:
		object := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, err := nativeOf(key)
			if err != nil {
				return nil, err
			}
			if object[fmt.Sprint(name)], err = nativeOf(v.Get(key)); err != nil {
				return nil, err
			}
		}
		return object, nil
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			item, err := nativeOf(it.Next())
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	}
	return nil, errNoValue
}

// marshal writes JSON as people would: without escapes for HTML.
func marshal(value any) (string, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", errNoJSON
	}
	return strings.TrimSuffix(buffer.String(), "\n"), nil
}
