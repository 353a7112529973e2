package creator

import (
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// maxRefusals is how often in a row the API server may fail, at a message's own Job or at those of all that wait with it, before it
// is asked whether the message is at fault. They take turns: where none of them passes, each would fail as often only after long.
const maxRefusals = 3

// faultOf returns why a message is rejected whose Job the API server fails at again and again while it takes others', so that it
// stops nobody. It returns nil where the message may wait with the others.
func (c *Creator) faultOf(d *delivery, err error) error {
	blocked, ok := errors.AsType[*BlockedError](err)
	d.unanswered = ok && isUnanswered(err)
	if !ok || !blocked.mayBeTheMessages() || d.rendered == nil {
		return nil
	}
	creates := c.creates.Load()
	if d.refusals++; d.refusals > 1 && creates > d.creates {
		d.overtaken++
	}
	d.creates = creates
	suspect := d.refusals >= maxRefusals || d.probe && c.gate.probesRefused() >= maxRefusals-1
	if !suspect || d.overtaken < maxRefusals-1 && !c.takesSample() {
		return nil
	}
	return &job.RejectionError{Reason: v1alpha1.RejectedCreateFails, Message: blocked.Error()}
}

// takesSample reports whether the API server would take the objects of another message.
func (c *Creator) takesSample() bool {
	if c.sample == nil {
		return false
	}
	objects, err := c.sample()
	if err != nil {
		return false
	}
	for _, object := range objects {
		if c.requests.create(object, true, client.DryRunAll) != nil {
			return false
		}
	}
	return true
}
