package job

import (
	"container/list"
	"errors"
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
)

const (
	// maxExpressionCost bounds the work of one expression, in CEL's units; the API server allows a validation rule as much.
	maxExpressionCost = 1_000_000
	// maxExpression is the schema's bound on the length of an expression, for bindings that did not pass through it.
	maxExpression = 4096
	// maxExpressions bounds the expressions of a binding together, in bytes.
	maxExpressions = 16 << 10
	// maxUntyped bounds the macros, empty lists and empty maps in an expression: CEL's type checker copies what it knows of them for
	// each of them, 170 MB for an expression of 300 macros.
	maxUntyped = 100
	// maxPrograms bounds the compiled programs that are kept for the next message, over all bindings, by their estimated bytes.
	maxPrograms = 32 << 20
	// A program takes a table of functions, and so many bytes for each node of its expression.
	bytesPerProgram, bytesPerNode = 8 << 10, 512
)

// program is a compiled expression.
type program struct {
	cel.Program
	ast *cel.Ast
	// bytes is about what it takes.
	bytes int64
}

// programs are those of the expressions that were evaluated last. Programs are large beside their expressions, and most of many
// bindings wait for messages most of the time.
type programs struct {
	most int64

	mu     sync.Mutex
	known  map[string]*list.Element // by expression
	recent list.List                // of *kept, the latest first
	bytes  int64

	// compiling lets one expression be compiled at a time, as that takes far more than the result.
	compiling sync.Mutex
}

type kept struct {
	expression string
	program    *program
}

func newPrograms(most int64) *programs {
	return &programs{most: most, known: map[string]*list.Element{}}
}

// get returns the program of an expression, which it compiles where it is not known.
func (p *programs) get(expression string) (*program, error) {
	if found := p.find(expression); found != nil {
		return found, nil
	}
	p.compiling.Lock()
	defer p.compiling.Unlock()
	if found := p.find(expression); found != nil {
		return found, nil
	}
	compiled, detail := compile(expression)
	if detail != "" {
		return nil, errors.New(detail)
	}
	p.add(expression, compiled)
	return compiled, nil
}

// check compiles an expression and keeps nothing. detail is empty where it compiles.
func (p *programs) check(expression string) (detail string) {
	p.compiling.Lock()
	defer p.compiling.Unlock()
	_, detail = compile(expression)
	return detail
}

func (p *programs) find(expression string) *program {
	p.mu.Lock()
	defer p.mu.Unlock()
	element, ok := p.known[expression]
	if !ok {
		return nil
	}
	p.recent.MoveToFront(element)
	return element.Value.(*kept).program
}

func (p *programs) add(expression string, compiled *program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[expression] = p.recent.PushFront(&kept{expression, compiled})
	p.bytes += compiled.bytes
	for p.bytes > p.most && p.recent.Len() > 1 {
		oldest := p.recent.Remove(p.recent.Back()).(*kept)
		delete(p.known, oldest.expression)
		p.bytes -= oldest.program.bytes
	}
}

// compile compiles an expression. detail says what is wrong with it, and begins with line and column, both from 1.
func compile(expression string) (compiled *program, detail string) {
	if len(expression) > maxExpression {
		return nil, fmt.Sprintf("line 1, column 1: it has %d bytes; it may have %d", len(expression), maxExpression)
	}
	parsed, issues := environment.Parse(expression)
	if issues.Err() != nil {
		return nil, firstOf(issues)
	}
	nodes, untyped := nodesOf(parsed)
	if untyped > maxUntyped {
		return nil, fmt.Sprintf("line 1, column 1: it has %d macros, empty lists and empty maps; it may have %d", untyped, maxUntyped)
	}
	checked, issues := environment.Check(parsed)
	if issues.Err() != nil {
		return nil, firstOf(issues)
	}
	if checked.OutputType().IsExactType(messageType) {
		return nil, "line 1, column 1: message is an object and no value; choose a field of it, such as message.body"
	}
	made, err := environment.Program(checked, cel.CostLimit(maxExpressionCost), cel.InterruptCheckFrequency(1000), bounded(environment))
	if err != nil {
		return nil, fmt.Sprintf("line 1, column 1: %v", err)
	}
	return &program{Program: made, ast: checked, bytes: bytesPerProgram + bytesPerNode*nodes + int64(len(expression))}, ""
}

func firstOf(issues *cel.Issues) string {
	first := issues.Errors()[0]
	return fmt.Sprintf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
}

// nodesOf counts the nodes of an expression, and those whose type has to be found out.
func nodesOf(parsed *cel.Ast) (nodes, untyped int64) {
	ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		nodes++
		switch e.Kind() {
		case ast.ComprehensionKind:
			untyped++
		case ast.ListKind:
			if e.AsList().Size() == 0 {
				untyped++
			}
		case ast.MapKind:
			if e.AsMap().Size() == 0 {
				untyped++
			}
		}
	}))
	return nodes, untyped
}
