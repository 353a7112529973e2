package devenv

import (
	"strings"
	"testing"
)

func TestChooseNode(t *testing.T) {
	choice, err := ChooseNode(Simulated)
	if err != nil || choice.Node.Kind() != Simulated || !strings.Contains(choice.Why, "no container runs") {
		t.Errorf("got %+v (%v), want a simulated node, and that it is said", choice, err)
	}
	if _, err := ChooseNode("docker"); err == nil || !strings.Contains(err.Error(), "auto, real, simulated") {
		t.Errorf("got %v, want what there is to choose from", err)
	}
	// Whatever this machine can, auto and real agree about it.
	auto, err := ChooseNode(Auto)
	if err != nil {
		t.Fatal(err)
	}
	wished, err := ChooseNode(Real)
	switch {
	case (err == nil) != (auto.Node.Kind() == Real):
		t.Errorf("auto chose %s, but real said %v", auto.Node.Kind(), err)
	case err != nil && !strings.Contains(auto.Why, err.Error()):
		t.Errorf("auto said %q, want the reason %q", auto.Why, err)
	case err == nil && wished.Node.Kind() != Real:
		t.Errorf("got %s, want %s", wished.Node.Kind(), Real)
	}
}
