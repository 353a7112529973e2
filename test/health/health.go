// Package health says what other people's tools make of an object: kstatus, which Flux waits by, and Argo CD with the health check
// in docs/gitops.md.
package health

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/queuebinding/queuebinding/test/testenv"
)

// KStatus returns the status that the library kstatus computes: Current is settled, InProgress is waited for.
func KStatus(object *unstructured.Unstructured) (string, error) {
	result, err := status.Compute(object)
	if err != nil {
		return "", err
	}
	return result.Status.String(), nil
}

// ArgoCD returns what the health check says, as `<status> <message>`. Argo CD runs it in the same interpreter, with more of Lua's
// library than this.
func ArgoCD(object *unstructured.Unstructured) (string, error) {
	root, err := testenv.Root()
	if err != nil {
		return "", err
	}
	script, err := luaOf(filepath.Join(root, "docs", "gitops.md"))
	if err != nil {
		return "", err
	}
	vm := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer vm.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString} {
		if err := vm.CallByParam(lua.P{Fn: vm.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", err
		}
	}
	vm.SetGlobal("obj", luaValue(vm, object.Object))
	if err := vm.DoString(script); err != nil {
		return "", err
	}
	health, ok := vm.Get(-1).(*lua.LTable)
	if !ok {
		return "", fmt.Errorf("the check returns %s", vm.Get(-1))
	}
	return health.RawGetString("status").String() + " " + health.RawGetString("message").String(), nil
}

// luaOf returns the block of Lua in a page.
func luaOf(page string) (string, error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return "", err
	}
	_, after, found := strings.Cut(string(text), "```lua\n")
	script, _, ended := strings.Cut(after, "```")
	if !found || !ended {
		return "", fmt.Errorf("%s has no block of Lua", page)
	}
	return script, nil
}

// luaValue is a JSON value in Lua.
func luaValue(vm *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := vm.NewTable()
		for key, each := range value {
			table.RawSetString(key, luaValue(vm, each))
		}
		return table
	case []any:
		table := vm.NewTable()
		for _, each := range value {
			table.Append(luaValue(vm, each))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case int64:
		return lua.LNumber(value)
	}
	return lua.LNil
}
