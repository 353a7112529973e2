package job

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// celMessage is a message as expressions see it. Its body is parsed once, and only if an expression asks.
type celMessage struct {
	*queue.Message
	parsed   bool
	value    any
	parseErr error
}

// parse is the body as JSON, or nil where it is not JSON.
func (m *celMessage) parse() any {
	if !m.parsed {
		m.parsed = true
		m.value, m.parseErr = parseJSON(m.Body)
	}
	return m.value
}

// hint explains a failed expression by a body that is not JSON, where that may be the cause.
func (m *celMessage) hint() string {
	if m.parseErr == nil {
		return ""
	}
	return fmt.Sprintf(" (message.json is null, as the body is not JSON: %v)", m.parseErr)
}

// parseJSON parses one JSON value. Whole numbers become int64 or uint64 and stay exact; those beyond 64 bits become
// their digits, as a string, since a double would be another number.
func parseJSON(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		if err == io.EOF {
			return nil, fmt.Errorf("it is blank")
		}
		return nil, err
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
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(text, 10, 64); err == nil {
			return u
		}
		if !strings.ContainsAny(text, ".eE") {
			return text
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return text // 1e999
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
	return nil, fmt.Errorf("the expression gave a %s, which is no value for an environment variable", value.Type().TypeName())
}

// marshal writes JSON as people would: without escapes for HTML.
func marshal(value any) (string, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", fmt.Errorf("as JSON: %w", err)
	}
	return strings.TrimSuffix(buffer.String(), "\n"), nil
}
