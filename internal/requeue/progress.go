package requeue

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// maxListed is how many refusals a result names.
const maxListed = 10

// Progress is how far a requeue is: from when something is asked for until nothing is. It adds up the outcomes of its slices, and counts
// each Job once, however often its message was sent.
type Progress struct {
	result v1alpha1.RequeueResult
	// uncertain reports whether something happened that an operator which ends now would count again, or not at all.
	uncertain bool
	redriven  bool

	// counted are the Jobs in result.RequeuedJobs, refused those in result.RefusedJobs; unnamed is how many of these the result of an
	// operator before this one did not name.
	counted, refused map[string]struct{}
	unnamed          int
	// handled are the Jobs that this requeue is done with: what was seen of them may be behind.
	handled map[string]struct{}
	// unsure are the Jobs that were sent, and perhaps marked.
	unsure map[string]struct{}
	// late are failed Jobs that may not have been seen as such yet.
	late map[string]job.Record

	// removing are the names that are done and could not be taken out of the annotation.
	removing map[string]struct{}

	// survey is one that is under way. surveyed reports whether one was finished, fresh whether it was just now.
	survey          *Survey
	surveyed, fresh bool
	// onQueue reports whether the message of one of late stayed on its queue.
	onQueue bool
}

// Continue returns the progress of a requeue whose outcome so far is the last one that is known of a binding: it is gone on with if it
// says that it goes on, else a new one begins. nil is none.
func Continue(last *v1alpha1.RequeueResult) *Progress {
	p := &Progress{
		counted: map[string]struct{}{}, refused: map[string]struct{}{}, handled: map[string]struct{}{}, unsure: map[string]struct{}{},
		late: map[string]job.Record{},
	}
	if last == nil || !last.InProgress {
		p.result.InProgress = true
		return p
	}
	last.DeepCopyInto(&p.result)
	for _, refusal := range last.Refused {
		p.refused[refusal.JobName] = struct{}{}
	}
	p.unnamed = int(last.RefusedJobs) - len(last.Refused)
	return p
}

// Result returns the outcome so far, or nil where it is not certain, or there is none yet.
func (p *Progress) Result() *v1alpha1.RequeueResult {
	if p.uncertain || p.result.Time.IsZero() {
		return nil
	}
	return p.result.DeepCopy()
}

// Goes reports whether the requeue goes on.
func (p *Progress) Goes() bool { return p.result.InProgress }

// Latest returns the time of the last message that is counted.
func (p *Progress) Latest() time.Time { return p.result.Time.Time }

// reach notes that a time is reached.
func (p *Progress) reach(at time.Time) {
	if at.After(p.result.Time.Time) {
		p.result.Time = metav1.NewTime(at)
	}
}

// add adds the outcome of a slice at a time, and returns the refusals that are new.
func (p *Progress) add(outcome Outcome, at time.Time) []v1alpha1.RequeueRefusal {
	p.count(outcome.Requeued)
	for _, name := range outcome.Done {
		p.handled[name] = struct{}{}
		delete(p.unsure, name)
	}
	for _, name := range outcome.Unsure {
		p.unsure[name] = struct{}{}
	}
	p.redriven = p.redriven || outcome.Redriven
	if !outcome.IsEmpty() {
		p.reach(at)
	}
	return slices.DeleteFunc(slices.Clone(outcome.Refused), func(refusal v1alpha1.RequeueRefusal) bool { return !p.refuse(refusal) })
}

// count counts Jobs whose messages were sent again.
func (p *Progress) count(names []string) {
	for _, name := range names {
		if _, ok := p.counted[name]; !ok {
			p.counted[name] = struct{}{}
			p.result.RequeuedJobs++
		}
	}
}

// refuse counts a refusal, and reports whether it is a new one.
func (p *Progress) refuse(refusal v1alpha1.RequeueRefusal) bool {
	if _, ok := p.refused[refusal.JobName]; ok {
		return false
	}
	p.refused[refusal.JobName] = struct{}{}
	if p.unnamed > 0 { // `all` comes by those again that the operator before refused
		p.unnamed--
		return false
	}
	p.result.RefusedJobs++
	if len(p.result.Refused) < maxListed {
		p.result.Refused = append(p.result.Refused, refusal)
	}
	return true
}

// takeSurvey takes in what a finished survey found.
func (p *Progress) takeSurvey() {
	p.count(p.survey.Sent)
	p.reach(p.survey.Newest)
	for _, record := range p.survey.Late {
		p.onQueue = p.onQueue || record.MessageOnQueue()
		p.late[record.Name] = record
	}
	p.survey, p.surveyed, p.fresh = nil, true, true
}

// idle reports whether nothing came of the requeue.
func (p *Progress) idle() bool {
	return p.result.RequeuedJobs == 0 && p.result.RefusedJobs == 0 && !p.redriven
}
