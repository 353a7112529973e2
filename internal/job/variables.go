package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Variables are the variables of a binding, whose expressions compile. They may be used by several goroutines.
type Variables struct {
	variables []v1alpha1.Variable
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

// environment and recentPrograms are the same for all bindings.
var (
	environment    = newEnvironment()
	recentPrograms = newPrograms(maxPrograms)
)

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

// CompileVariables checks that the variables of a binding compile. Their programs are made for the first message and kept while
// they are used. Its errors are *ExpressionError.
func CompileVariables(variables []v1alpha1.Variable) (*Variables, error) {
	total := 0
	for i, v := range variables {
		if total += len(v.Expression); total > maxExpressions {
			return nil, &ExpressionError{i, v.Name, fmt.Sprintf("line 1, column 1: the expressions up to this one have %d bytes; all of a binding may have %d", total, maxExpressions)}
		}
		if detail := recentPrograms.check(v.Expression); detail != "" {
			return nil, &ExpressionError{i, v.Name, detail}
		}
	}
	return &Variables{variables: slices.Clone(variables)}, nil
}

// Variable is a computed environment variable.
type Variable struct{ Name, Value string }

// Evaluate computes the variables for a message, in their order. Its errors are *RejectionError, and quote nothing of the message.
func (vs *Variables) Evaluate(ctx context.Context, message *queue.Message) ([]Variable, error) {
	input := &celMessage{Message: message}
	values := make([]Variable, 0, len(vs.variables))
	total := 0
	for _, v := range vs.variables {
		text, err := evaluate(ctx, v, input)
		if err != nil {
			return nil, err
		}
		if strings.ContainsRune(text, 0) {
			return nil, rejectf(v1alpha1.RejectedUnusableValue, "variable %s: the value holds a NUL character, which no environment variable can", v.Name)
		}
		if err := checkEnvironmentString(v.Name, text); err != nil {
			return nil, err
		}
		if total += len(text); total > maxJob {
			return nil, rejectf(v1alpha1.RejectedTooLarge, "the variables up to %s would be %d bytes; a Job may be %d", v.Name, total, maxJob)
		}
		values = append(values, Variable{v.Name, text})
	}
	return values, nil
}

// evaluate computes one variable, within an allowance of its own: what the one before made is garbage by now.
func evaluate(ctx context.Context, v v1alpha1.Variable, input *celMessage) (string, error) {
	program, err := recentPrograms.get(v.Expression)
	if err != nil {
		return "", rejectf(v1alpha1.RejectedExpressionFailed, "variable %s: %s", v.Name, err)
	}
	left := newAllowance(input.Message)
	result, _, err := program.ContextEval(ctx, map[string]any{"message": input, allowanceVariable: left})
	if input.refused != nil {
		return "", rejectf(input.refused.Reason, "variable %s: %s", v.Name, input.refused.Message)
	}
	text := ""
	if err == nil && !left.refused {
		text, err = textOf(result, left)
	}
	switch {
	case left.refused:
		return "", rejectf(v1alpha1.RejectedTooLarge, "variable %s: %s", v.Name, errAllowance)
	case errors.Is(err, errTooLong):
		return "", rejectf(v1alpha1.RejectedTooLarge, "variable %s: the value would be more than the %d bytes that an environment variable may have", v.Name, maxEnvironmentString)
	case err != nil:
		return "", rejectf(v1alpha1.RejectedExpressionFailed, "variable %s: %s%s", v.Name, program.explain(err), input.hint())
	}
	return text, nil
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
	"json":         {cel.DynType, (*celMessage).parse},
	"attributes":   {cel.MapType(cel.StringType, cel.StringType), (*celMessage).texts},
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

// textOf is what an environment variable gets of a CEL value. Its errors are of what explain tells.
func textOf(value ref.Val, left *allowance) (string, error) {
	if text, ok := value.(types.String); ok {
		return string(text), nil
	}
	w := weight{most: left.left}
	w.add(value)
	switch {
	case !left.take(w.times(3, 64)):
		return "", errAllowance
	case w.values+w.bytes > 8*maxEnvironmentString: // as JSON, a value takes a character and more, but a number fewer than its bytes
		return "", errTooLong
	}
	native, err := nativeOf(value)
	if err != nil {
		return "", err
	}
	switch v := native.(type) {
	case nil:
		return "", errNull
	case string:
		return v, nil
	}
	return marshal(native)
}
