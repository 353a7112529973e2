package manager

import (
	"github.com/KimMachineGun/automemlimit/memlimit"
	ctrl "sigs.k8s.io/controller-runtime"
)

// memoryRatio is how much of the container's limit Go may take before it collects garbage without end: the rest is for the kernel's
// buffers and for what Go does not count.
const memoryRatio = 0.85

// FollowMemoryLimit has Go's memory limit follow the container's, unless GOMEMLIMIT sets it. Outside a container it sets none.
func FollowMemoryLimit() {
	if _, err := memlimit.Set(memlimit.WithRatio(memoryRatio)); err != nil {
		ctrl.Log.Info("Could not read the container's memory limit; set GOMEMLIMIT to have one", "cause", err.Error())
	}
}
