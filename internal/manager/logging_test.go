package manager

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"go.uber.org/zap/zapcore"
)

// said is one statement that logs: the sentence, if any, and the keys.
type said struct {
	at       token.Position
	sentence string
	keys     []string
}

// logged returns what the programs' own code logs, as its source says.
func logged(t *testing.T) []said {
	t.Helper()
	var all []said
	files := token.NewFileSet()
	for _, root := range []string{"../../cmd", "../../internal"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				if call, ok := node.(*ast.CallExpr); ok {
					if statement, ok := statementOf(call); ok {
						statement.at = files.Position(call.Pos())
						all = append(all, statement)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// statementOf knows logr's methods by their names and arguments: nothing else of ours looks like that.
func statementOf(call *ast.CallExpr) (said, bool) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return said{}, false
	}
	if of, ok := selector.X.(*ast.Ident); ok && of.Name == "http" { // http.Error answers a request
		return said{}, false
	}
	args, sentence := call.Args, ""
	switch selector.Sel.Name {
	case "Info":
		if len(args) == 0 {
			return said{}, false
		}
		sentence, args = text(args[0]), args[1:]
	case "Error":
		if len(args) < 2 {
			return said{}, false
		}
		sentence, args = text(args[1]), args[2:]
	case "WithValues":
	default:
		return said{}, false
	}
	statement := said{sentence: sentence}
	for i := 0; i < len(args); i += 2 {
		statement.keys = append(statement.keys, text(args[i]))
	}
	return statement, true
}

// text is the value of a string literal, or something that no document has.
func text(expression ast.Expr) string {
	if literal, ok := expression.(*ast.BasicLit); ok && literal.Kind == token.STRING {
		if value, err := strconv.Unquote(literal.Value); err == nil {
			return value
		}
	}
	return "not a literal"
}

// documentedKeys are the keys in the table of docs/logs.md.
func documentedKeys(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(string(page), -1) {
		keys = append(keys, row[1])
	}
	return keys
}

// One thing has one key, whoever logs it, and each key is documented.
func TestLogsHaveTheKeysThatAreDocumentedAndNoOthers(t *testing.T) {
	documented := documentedKeys(t)
	used := map[string]bool{}
	statements := logged(t)
	if len(statements) < 20 {
		t.Fatalf("found %d statements that log: has logr changed its methods?", len(statements))
	}
	for _, statement := range statements {
		for _, key := range statement.keys {
			used[key] = true
			if !slices.Contains(documented, key) {
				t.Errorf("%s: the key %q is not in docs/logs.md", statement.at, key)
			}
		}
	}
	for _, key := range documented {
		if !used[key] {
			t.Errorf("docs/logs.md has the key %q, which nothing logs", key)
		}
	}
}

func TestLogsAreSentencesWithoutAFullStop(t *testing.T) {
	for _, statement := range logged(t) {
		if s := statement.sentence; s != "" && (!unicode.IsUpper([]rune(s)[0]) || strings.HasSuffix(s, ".")) {
			t.Errorf("%s: %q", statement.at, s)
		}
	}
}

func TestTheLevelFollowsFlagsAndThenSignals(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		before zapcore.Level
	}{
		"no flags":       {nil, zapcore.InfoLevel},
		"errors only":    {[]string{"--zap-log-level=error"}, zapcore.ErrorLevel},
		"more than that": {[]string{"--zap-log-level=3"}, zapcore.Level(-3)},
		"for developers": {[]string{"--zap-devel"}, zapcore.DebugLevel},
	} {
		t.Run(name, func(t *testing.T) {
			var f Flags
			set := flag.NewFlagSet("", flag.PanicOnError)
			f.Bind(set)
			if err := set.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			f.logging.DestWriter = &out
			log, level := f.logger()
			for range 2 { // as often as one likes
				if got := level.Level(); got != tc.before {
					t.Fatalf("it starts at %v, want %v", got, tc.before)
				}
				level.follow(syscall.SIGUSR1)
				if got := level.Level(); got != min(tc.before, zapcore.DebugLevel) {
					t.Errorf("after SIGUSR1: %v", got)
				}
				out.Reset()
				log.V(1).Info("Created a Job", "job", "pings-1")
				if !strings.Contains(out.String(), `pings-1`) {
					t.Errorf("it logs %q", out.String())
				}
				level.follow(syscall.SIGUSR2)
			}
			if tc.before > zapcore.DebugLevel {
				out.Reset()
				log.V(1).Info("Created a Job", "job", "pings-2")
				if out.Len() > 0 {
					t.Errorf("after SIGUSR2 it logs %q", out.String())
				}
			}
		})
	}
}

// The signals reach the level of this process, and end nothing.
func TestSignalsChangeTheLevel(t *testing.T) {
	var f Flags
	f.logging.DestWriter = &bytes.Buffer{}
	_, level := f.logger()
	stop := level.followSignals()
	defer stop()
	for _, each := range []struct {
		signal syscall.Signal
		want   zapcore.Level
	}{{syscall.SIGUSR1, zapcore.DebugLevel}, {syscall.SIGUSR2, zapcore.InfoLevel}} {
		if err := syscall.Kill(syscall.Getpid(), each.signal); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(10 * time.Second)
		for level.Level() != each.want {
			if time.Now().After(deadline) {
				t.Fatalf("after %v the level is %v", each.signal, level.Level())
			}
			time.Sleep(time.Millisecond)
		}
	}
}
