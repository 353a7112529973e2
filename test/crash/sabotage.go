package crash

import "github.com/queuebinding/queuebinding/test/rig"

// Sabotage switches one of the operator's safeguards off, in a build of its own. A matrix that does not find it would
// find nothing.
type Sabotage struct {
	Name  string
	Edits []rig.Edit
	// Scenario is the name of the one that finds it, Finds how the violation begins.
	Scenario, Finds string
}

const (
	handleFile  = "internal/intake/handle.go"
	ledgerFile  = "internal/intake/ledger.go"
	lineageFile = "internal/job/lineage.go"
)

// Sabotages are all that the matrix must find.
var Sabotages = []Sabotage{
	{
		Name:     "acknowledge-before-create",
		Scenario: "one message",
		Finds:    lost,
		Edits: []rig.Edit{{
			File: handleFile,
			Old:  "		verdict := attempt()\n",
			New:  "		l.queue.Delete(l.requests, []string{message.ReceiptHandle})\n		verdict := attempt()\n",
		}},
	},
	{
		// A message that is delivered again while its first delivery is worked on is known by its Job's name alone.
		Name:     "names-not-deterministic",
		Scenario: "one message, delivered twice",
		Finds:    doubled,
		Edits: []rig.Edit{
			{File: lineageFile, Old: "	h := sha256.New()\n	writeField(h, []byte(bindingUID))\n", New: "	h := sha256.New()\n	writeField(h, []byte(rand.Text()))\n	writeField(h, []byte(bindingUID))\n"},
			{File: lineageFile, Old: "	\"crypto/sha256\"\n", New: "	\"crypto/rand\"\n	\"crypto/sha256\"\n"},
		},
	},
	{
		Name:     "job-before-its-secret",
		Scenario: "File delivery",
		Finds:    stuck + "Job",
		Edits: []rig.Edit{{
			File: handleFile,
			Old:  "	verdict := l.store(secrets, rendered.Name)\n",
			New:  "	verdict := Verdict{Action: Acknowledge}\n",
		}},
	},
	{
		// A slot is asked for twice: before the receive, and before the create.
		Name:     "slot-not-reserved",
		Scenario: "a batch of ten",
		Finds:    limitPassed,
		Edits: []rig.Edit{
			{File: ledgerFile, Old: "	reserved := l.open + len(l.expected)\n", New: "	reserved := 0\n"},
			{File: ledgerFile, Old: "l.jobs.Active()+l.open+len(l.expected) > limits.MaxActive", New: "l.jobs.Active() > limits.MaxActive"},
		},
	},
}
