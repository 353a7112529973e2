package job

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// maxExpressionCost bounds the work of one expression, in CEL's units; the API server allows a validation rule as much.
const maxExpressionCost = 1_000_000

// Variables are the compiled variables of a binding. They may be used by several goroutines.
type Variables struct {
	variables []variable
}

// variable is a name and how its value is computed. Programs are large beside their expressions, and most of many bindings
// wait for messages most of the time, so that one is made for the first message.
type variable struct {
	name    string
	program func() (cel.Program, error)
}

// ExpressionError says which variable does not compile, and where.
type ExpressionError struct {
	// Index is the variable's place in spec.message.variables.
	Index int
	// Variable is its name.
	Variable string
	// Detail begins with line and column, both from 1.
	Detail string
}

func (e *ExpressionError) Error() string {
	return fmt.Sprintf("spec.message.variables[%d].expression (%s): %s", e.Index, e.Variable, e.Detail)
}

// environment is the same for all bindings.
var environment = newEnvironment()

func newEnvironment() *cel.Env {
	env, err := cel.NewEnv(
		cel.Variable("message", messageType),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		ext.Strings(),
		ext.Encoders(),
		func(env *cel.Env) (*cel.Env, error) { // last, as it wraps what the ones before have set up
			return cel.CustomTypeProvider(messageProvider{env.CELTypeProvider()})(env)
		},
	)
	if err != nil {
		panic(fmt.Sprintf("CEL environment: %v", err))
	}
	return env
}

// CompileVariables compiles the variables of a binding. Its errors are *ExpressionError.
func CompileVariables(variables []v1alpha1.Variable) (*Variables, error) {
	compiled := &Variables{}
	for i, v := range variables {
		ast, issues := environment.Compile(v.Expression)
		if issues.Err() != nil {
			first := issues.Errors()[0]
			return nil, &ExpressionError{i, v.Name, fmt.Sprintf("line %d, column %d: %s",
				first.Location.Line(), first.Location.Column()+1, first.Message)}
		}
		if ast.OutputType().IsExactType(messageType) {
			return nil, &ExpressionError{i, v.Name, "line 1, column 1: message is an object and no value; choose a field of it, such as message.body"}
		}
		program := func() (cel.Program, error) {
			return environment.Program(ast, cel.CostLimit(maxExpressionCost), cel.InterruptCheckFrequency(1000))
		}
		if _, err := program(); err != nil { // told now, not at the first message
			return nil, &ExpressionError{i, v.Name, fmt.Sprintf("line 1, column 1: %v", err)}
		}
		compiled.variables = append(compiled.variables, variable{v.Name, sync.OnceValues(program)})
	}
	return compiled, nil
}

// Variable is a computed environment variable.
type Variable struct{ Name, Value string }

// Evaluate computes the variables for a message, in their order. Its errors are *RejectionError.
func (vs *Variables) Evaluate(ctx context.Context, message *queue.Message) ([]Variable, error) {
	input := &celMessage{Message: message}
	values := make([]Variable, 0, len(vs.variables))
	for _, v := range vs.variables {
		name := v.name
		program, err := v.program()
		if err != nil {
			return nil, rejectf(v1alpha1.RejectedExpressionFailed, "variable %s: %s", name, err)
		}
		result, _, err := program.ContextEval(ctx, map[string]any{"message": input})
		if err != nil {
			return nil, rejectf(v1alpha1.RejectedExpressionFailed, "variable %s: %s%s", name, err, input.hint())
		}
		text, err := textOf(result)
		if err != nil {
			return nil, rejectf(v1alpha1.RejectedExpressionFailed, "variable %s: %s%s", name, err, input.hint())
		}
		if strings.ContainsRune(text, 0) {
			return nil, rejectf(v1alpha1.RejectedUnusableValue, "variable %s: the value holds a NUL character, which no environment variable can", name)
		}
		values = append(values, Variable{name, text})
	}
	return values, nil
}

// messageType is the type of the CEL variable `message`.
var messageType = cel.ObjectType("Message")

// messageFields are the fields of `message`, their types, and how they are read.
var messageFields = map[string]struct {
	celType *cel.Type
	get     func(*celMessage) any
}{
	"id":           {cel.StringType, func(m *celMessage) any { return m.ID }},
	"body":         {cel.StringType, func(m *celMessage) any { return m.Body }},
	"json":         {cel.DynType, func(m *celMessage) any { return m.parse() }},
	"attributes":   {cel.MapType(cel.StringType, cel.StringType), func(m *celMessage) any { return visible(m.Attributes).Texts() }},
	"groupID":      {cel.StringType, func(m *celMessage) any { return m.GroupID }},
	"sentTime":     {cel.TimestampType, func(m *celMessage) any { return m.SentTime }},
	"receiveCount": {cel.IntType, func(m *celMessage) any { return int64(m.ReceiveCount) }},
}

// messageProvider tells CEL of messageFields, so that a misspelt field is found when the expression is compiled.
type messageProvider struct{ types.Provider }

func (p messageProvider) FindStructType(name string) (*types.Type, bool) {
	if name == messageType.TypeName() {
		return types.NewTypeTypeWithParam(messageType), true
	}
	return p.Provider.FindStructType(name)
}

func (p messageProvider) FindStructFieldNames(name string) ([]string, bool) {
	if name != messageType.TypeName() {
		return p.Provider.FindStructFieldNames(name)
	}
	names := make([]string, 0, len(messageFields))
	for field := range messageFields {
		names = append(names, field)
	}
	return names, true
}

func (p messageProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if name != messageType.TypeName() {
		return p.Provider.FindStructFieldType(name, field)
	}
	f, ok := messageFields[field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type:    f.celType,
		IsSet:   func(any) bool { return true },
		GetFrom: func(target any) (any, error) { return f.get(target.(*celMessage)), nil },
	}, true
}

// textOf is what an environment variable gets of a CEL value.
func textOf(value ref.Val) (string, error) {
	native, err := nativeOf(value)
	if err != nil {
		return "", err
	}
	switch v := native.(type) {
	case nil:
		return "", fmt.Errorf("the expression gave null")
	case string:
		return v, nil
	}
	return marshal(native)
}
