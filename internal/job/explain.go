package job

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/interpreter"
)

// Errors of an expression whose result cannot be an environment variable's value.
var (
	errNull    = errors.New("the expression gave null")
	errNoValue = errors.New("the expression gave something that is no value for an environment variable")
	errNoJSON  = errors.New("the expression gave a number that JSON cannot write")
	errTooLong = errors.New("the expression gave more than an environment variable may have")
)

// missingKey is how CEL begins to say that there is no such key. The key behind it may be of the message.
const missingKey = "no such key: "

// celErrors are the beginnings of CEL's own errors. Only these are told: what follows may quote the message.
var celErrors = []string{
	"no such key", "no such overload", "no such field", "no such attribute", "index out of bounds", "index out of range",
	"division by zero", "modulus by zero", "integer overflow", "unsigned integer overflow", "duration overflow", "timestamp overflow",
	"optional.none() dereference", "unsupported index", "invalid UTF-8 in bytes", "illegal base64 data", "unknown time zone",
	"join: invalid input", "invalid substring range", "NaN values cannot be ordered", "error parsing regexp",
	"operation cancelled: actual cost limit exceeded", "operation interrupted",
}

// conversion is CEL's error of a value that cannot become one of another type. It names the types only.
var conversion = regexp.MustCompile(`^type conversion error from '[\w.]+' to '[\w.]+'$`)

// explain says why an expression failed, and where, in words that quote the expression at most and nothing of the message.
func (p *program) explain(err error) string {
	for _, own := range []error{errNull, errNoValue, errNoJSON} {
		if errors.Is(err, own) {
			return own.Error()
		}
	}
	where := ""
	if failed, ok := errors.AsType[*types.Err](err); ok {
		if at := p.ast.NativeRep().SourceInfo().GetStartLocation(failed.NodeID()); at.Line() > 0 {
			where = fmt.Sprintf("line %d, column %d: ", at.Line(), at.Column()+1)
		}
	}
	text := err.Error()
	if errors.Is(err, interpreter.InterruptError{}) {
		text = "operation interrupted"
	}
	if conversion.MatchString(text) {
		return where + text
	}
	if key, ok := strings.CutPrefix(text, missingKey); ok && p.names(key) {
		return where + missingKey + key
	}
	for _, known := range celErrors {
		if strings.HasPrefix(text, known) {
			return where + known
		}
	}
	return where + "the expression failed"
}

// names reports whether a key is written in the expression.
func (p *program) names(key string) bool {
	named := false
	ast.PreOrderVisit(p.ast.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			named = named || e.AsSelect().FieldName() == key
		case ast.LiteralKind:
			named = named || e.AsLiteral().Equal(types.String(key)) == types.True
		}
	}))
	return named
}
