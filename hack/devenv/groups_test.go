package devenv

import (
	"slices"
	"testing"
)

func TestParseGroups(t *testing.T) {
	for name, test := range map[string]struct {
		names   []string
		want    []string
		wantErr bool
	}{
		"nothing is all":               {nil, allGroups, false},
		"all":                          {[]string{"queue", "all"}, allGroups, false},
		"the queue needs nothing":      {[]string{"queue"}, []string{Queue}, false},
		"nodes need the control plane": {[]string{"node"}, []string{ControlPlane, Nodes}, false},
		"in the order of their start":  {[]string{"queue", "scheduler", "controllers"}, []string{ControlPlane, Controllers, Scheduler, Queue}, false},
		"neighbours beside all":        {[]string{"karpenter", "all"}, append(slices.Clone(allGroups), "karpenter"), false},
		"a neighbour and its needs":    {[]string{"karpenter"}, []string{ControlPlane, Controllers, Scheduler, Nodes, "karpenter"}, false},
		"unknown":                      {[]string{"kubelet"}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseGroups(test.names)
			if (err != nil) != test.wantErr || !slices.Equal(got, test.want) {
				t.Errorf("got %v, %v; want %v, error %v", got, err, test.want, test.wantErr)
			}
		})
	}
}
