package job

import (
	"errors"
	"regexp/syntax"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// An expression may make so many bytes of values: a fixed part, and a multiple of its message's size. A function that goes
	// through a text character by character takes five times the text.
	fixedAllowance      = 1 << 20
	allowancePerByte    = 16
	maxPattern          = 4 << 10 // the longest regular expression, in bytes
	bytesOfPatternSteps = 512     // what a step of a compiled regular expression takes, its syntax tree included
)

// allowanceVariable is where an evaluation keeps its allowance. No expression can name it.
const allowanceVariable = "@allowance"

// errAllowance ends an evaluation whose allowance is used up.
var errAllowance = errors.New("it makes larger values than a message of this size may")

// allowance is what one evaluation may still make, in bytes. Functions that multiply take from it what their result will need
// before they make it. CEL's own cost is only known once there is a result.
type allowance struct {
	left int64
	// refused reports whether something was not made.
	refused bool
}

func newAllowance(message *queue.Message) *allowance { return &allowance{left: allowanceOf(message)} }

func allowanceOf(message *queue.Message) int64 {
	return fixedAllowance + allowancePerByte*int64(message.Size())
}

// take reports whether so many bytes may be made.
func (a *allowance) take(bytes int64) bool {
	if bytes > a.left {
		a.refused = true
		return false
	}
	a.left -= bytes
	return true
}

// demand takes what is about to be made, or ends the evaluation as CEL does at its limit of costs: an error would only end what is
// not behind an or.
func (a *allowance) demand(bytes int64) {
	if !a.take(bytes) {
		panic(interpreter.EvalCancelledError{Message: errAllowance.Error(), Cause: interpreter.CostLimitExceeded})
	}
}

// bounded has the calls and constructors of a program ask for what they make.
func bounded(env *cel.Env) cel.ProgramOption {
	return cel.CustomDecoratorV2(func(node interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		switch n := node.(type) {
		case interpreter.InterpretableCall:
			made, ok := estimates[n.Function()]
			if !ok {
				made = inPassing
			}
			if call := implementation(env, n); call != nil {
				return &boundedCall{InterpretableCall: n, args: n.Args(), call: call, made: made}, nil
			}
		case interpreter.InterpretableConstructor:
			return &boundedConstructor{n, sizeOfLiteral(n)}, nil
		}
		return node, nil
	})
}

// implementation is what a call calls, as CEL's own planner finds it, or nil where the call makes nothing.
func implementation(env *cel.Env, call interpreter.InterpretableCall) functions.FunctionOp {
	switch call.Function() {
	case operators.Equals:
		return func(args ...ref.Val) ref.Val { return types.Equal(args[0], args[1]) }
	case operators.NotEquals:
		return func(args ...ref.Val) ref.Val { return types.Bool(types.Equal(args[0], args[1]) != types.True) }
	}
	declared, ok := env.Functions()[call.Function()]
	if !ok {
		return nil
	}
	bindings, err := declared.Bindings()
	if err != nil {
		return nil
	}
	var found *functions.Overload
	for _, b := range bindings {
		if b.Operator == call.OverloadID() || found == nil && b.Operator == call.Function() {
			found = b
		}
	}
	if found == nil || found.NonStrict {
		return nil
	}
	return func(args ...ref.Val) ref.Val {
		switch {
		case found.OperandTrait != 0 && !args[0].Type().HasTrait(found.OperandTrait):
		case len(args) == 1 && found.Unary != nil:
			return found.Unary(args[0])
		case len(args) == 2 && found.Binary != nil:
			return found.Binary(args[0], args[1])
		case found.Function != nil:
			return found.Function(args...)
		}
		return types.NoSuchOverloadErr()
	}
}

// boundedCall is a call that asks before it makes its result.
type boundedCall struct {
	interpreter.InterpretableCall
	args []interpreter.InterpretableV2
	call functions.FunctionOp
	made estimate
}

// Exec implements interpreter.InterpretableV2.
func (c *boundedCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	values := make([]ref.Val, len(c.args))
	for i, arg := range c.args {
		if values[i] = arg.Exec(frame); types.IsUnknownOrError(values[i]) {
			return values[i]
		}
	}
	left := allowanceIn(frame)
	left.demand(c.made(values, left.left))
	return types.LabelErrNode(c.ID(), c.call(values...))
}

// Eval implements interpreter.Interpretable.
func (c *boundedCall) Eval(vars interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(vars))
}

// boundedConstructor is a list or map in an expression that asks before it is made.
type boundedConstructor struct {
	interpreter.InterpretableConstructor
	bytes int64
}

// Exec implements interpreter.InterpretableV2.
func (c *boundedConstructor) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	allowanceIn(frame).demand(c.bytes)
	return c.InterpretableConstructor.Exec(frame)
}

// Eval implements interpreter.Interpretable.
func (c *boundedConstructor) Eval(vars interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(vars))
}

func allowanceIn(frame *interpreter.ExecutionFrame) *allowance {
	found, _ := frame.ResolveName(allowanceVariable)
	return found.(*allowance)
}

// sizeOfLiteral is what a list or map of so many values takes, without the values.
func sizeOfLiteral(c interpreter.InterpretableConstructor) int64 {
	n := int64(len(c.InitVals()))
	tracking := n * n / 8 // CEL's tracker of costs looks for each value among all
	if c.Type() == types.ListType {
		return 64 + 64*n + tracking
	}
	return 384 + 64*n + tracking
}

// estimate is how many bytes a call will make, never less than it does; any number above most where it is more than that. It
// takes no longer than that many bytes would.
type estimate func(args []ref.Val, most int64) int64

// estimates are those of the functions whose results may be larger than a few words, by CEL's names of the functions. What takes
// long without making much, such as a comparison, is in here too: a list that holds itself twice, many times over, has no end.
var estimates = map[string]estimate{
	operators.Add:       addition,
	operators.Equals:    walked,
	operators.NotEquals: walked,
	operators.In:        walked,
	operators.OldIn:     walked,
	"in":                walked,
	"base64.decode":     multiple(2),
	"base64.encode":     multiple(3),
	"bytes":             multiple(1),
	"charAt":            multiple(5),
	"format":            formatting,
	"indexOf":           searching,
	"join":              joining,
	"json.encode":       encoding,
	"lastIndexOf":       searching,
	"lowerAscii":        multiple(5),
	"matches":           matching,
	"optional.unwrap":   walked,
	"replace":           replacing,
	"reverse":           multiple(5),
	"split":             splitting,
	"string":            multiple(1),
	"strings.quote":     multiple(12),
	"substring":         multiple(5),
	"unwrapOpt":         walked,
	"upperAscii":        multiple(5),
}

// multiple is n times the text, where that is one.
func multiple(n int64) estimate {
	return func(args []ref.Val, _ int64) int64 { return n*lengthOf(args[0]) + 64 }
}

// inPassing is for what reads texts and makes nothing of them: a little of each, so that it comes to an end.
func inPassing(args []ref.Val, _ int64) int64 {
	sum := int64(0)
	for _, arg := range args {
		sum += lengthOf(arg) >> 4
	}
	return sum
}

// lengthOf is the number of bytes of a text, and 0 for anything else.
func lengthOf(value ref.Val) int64 {
	switch v := value.(type) {
	case types.String:
		return int64(len(v))
	case types.Bytes:
		return int64(len(v))
	}
	return 0
}

func textIn(args []ref.Val, i int) string {
	if i < len(args) {
		text, _ := args[i].(types.String)
		return string(text)
	}
	return ""
}

func addition(args []ref.Val, _ int64) int64 {
	added, isList := args[1].(traits.Lister)
	switch {
	case !isList:
		return lengthOf(args[0]) + lengthOf(args[1]) + 16
	case isMutable(args[0]): // a macro's result, to which one is added at a time
		return 32 * sizeOf(added)
	}
	return 16 * (sizeOf(args[0]) + sizeOf(added) + 4)
}

func isMutable(value ref.Val) bool {
	_, ok := value.(traits.MutableLister)
	return ok
}

func sizeOf(value ref.Val) int64 {
	if sizer, ok := value.(traits.Sizer); ok {
		size, _ := sizer.Size().(types.Int)
		return int64(size)
	}
	return 0
}

func walked(args []ref.Val, most int64) int64 {
	w := weight{most: most}
	for _, arg := range args {
		w.add(arg)
	}
	return w.times(0, 0)
}

func joining(args []ref.Val, most int64) int64 {
	w := weight{most: most}
	w.add(args[0])
	return w.times(2, 2*int64(len(textIn(args, 1)))) // a builder grows in steps
}

func encoding(args []ref.Val, most int64) int64 {
	w := weight{most: most}
	w.add(args[0])
	return w.times(6, 256)
}

func formatting(args []ref.Val, most int64) int64 {
	w := weight{most: most}
	w.add(args[1])
	text := textIn(args, 0)
	return 2*int64(len(text)) + 512*int64(strings.Count(text, "%")) + w.times(6, 64)
}

func replacing(args []ref.Val, _ int64) int64 {
	text, old, by := textIn(args, 0), textIn(args, 1), textIn(args, 2)
	n := int64(strings.Count(text, old))
	if len(args) > 3 {
		if most, ok := args[3].(types.Int); ok && most >= 0 {
			n = min(n, int64(most))
		}
	}
	return int64(len(text)) + n*int64(max(len(by)-len(old), 0)) + 64
}

func splitting(args []ref.Val, _ int64) int64 {
	n := int64(strings.Count(textIn(args, 0), textIn(args, 1))) + 1
	if len(args) > 2 {
		if most, ok := args[2].(types.Int); ok && most >= 0 {
			n = min(n, int64(most))
		}
	}
	return 16*n + 64
}

// searching compares at each place, which takes time rather than memory.
func searching(args []ref.Val, _ int64) int64 {
	text, part := int64(len(textIn(args, 0))), int64(len(textIn(args, 1)))
	return 4*(text+part) + text*part>>6
}

func matching(args []ref.Val, most int64) int64 {
	pattern := textIn(args, 1)
	if len(pattern) > maxPattern {
		return most + 1
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // and so will the call find
	}
	steps := stepsOf(parsed)
	return bytesOfPatternSteps*steps + lengthOf(args[0])*steps>>3
}

// stepsOf is about how long the program of a regular expression is: repetitions are written out in it.
func stepsOf(re *syntax.Regexp) int64 {
	steps := int64(1 + len(re.Rune))
	for _, sub := range re.Sub {
		steps += stepsOf(sub)
	}
	if re.Op == syntax.OpRepeat {
		steps *= int64(max(re.Min, re.Max, 1))
	}
	return steps
}

// bytesPerValue is what it takes to look at a value.
const bytesPerValue = 48

// weight counts the values in a value, itself included, and the bytes of their texts, until both take more than most.
type weight struct{ most, values, bytes int64 }

func (w *weight) isOver() bool { return w.bytes+bytesPerValue*w.values > w.most }

// times is so much for each byte and each value, beside what it took to look at them; more than most where they were not all seen.
func (w *weight) times(bytes, values int64) int64 {
	if w.isOver() {
		return w.most + 1
	}
	return w.bytes/16 + bytes*w.bytes + (bytesPerValue+values)*w.values
}

func (w *weight) add(value ref.Val) {
	w.values++
	switch v := value.(type) {
	case types.String, types.Bytes:
		w.bytes += lengthOf(value)
	case *types.Optional:
		if v.HasValue() {
			w.add(v.GetValue())
		}
	case traits.Mapper:
		for it := v.Iterator(); it.HasNext() == types.True && !w.isOver(); {
			key := it.Next()
			w.add(key)
			w.add(v.Get(key))
		}
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == types.True && !w.isOver(); {
			w.add(it.Next())
		}
	default:
		w.bytes += 8
	}
}
