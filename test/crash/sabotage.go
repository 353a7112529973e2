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
	creatorFile = "internal/creator/creator.go"
	faultFile   = "internal/creator/fault.go"
	handleFile  = "internal/intake/handle.go"
	keysFile    = "internal/job/keys.go"
	loopFile    = "internal/intake/loop.go"
	lineageFile = "internal/job/lineage.go"
	slotsFile   = "internal/ledger/slots.go"
	sliceFile   = "internal/requeue/slice.go"
)

// Sabotages are all that the matrix must find.
var Sabotages = []Sabotage{
	{
		Name:     "acknowledge-before-create",
		Scenario: "one message",
		Finds:    lost,
		Edits: []rig.Edit{{
			File: loopFile,
			Old:  "	l.inFlight.Received(messages, began, visibility)\n",
			New:  "	for i := range messages {\n		l.queue.Delete(l.requests, []string{messages[i].ReceiptHandle})\n	}\n	l.inFlight.Received(messages, began, visibility)\n",
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
		Name:     "lineages-not-verified",
		Scenario: "forged lineage",
		Finds:    lost,
		Edits: []rig.Edit{{
			File: keysFile,
			Old:  "len(key) > 0 && hmac.Equal(",
			New:  "len(key) > 0 || hmac.Equal(",
		}},
	},
	{
		Name:     "job-before-its-secret",
		Scenario: "File delivery",
		Finds:    stuck + "Job",
		Edits: []rig.Edit{{
			File: creatorFile,
			Old:  "	err := c.secrets.store(d.secrets, d.name, d.probe)\n",
			New:  "	var err error\n",
		}},
	},
	{
		Name:     "message-never-at-fault",
		Scenario: "webhook fails for one message",
		Finds:    stuck + "one message holds up",
		Edits: []rig.Edit{
			{File: faultFile, Old: "const maxRefusals = 3\n", New: "const maxRefusals = 1 << 30\n"},
		},
	},
	{
		Name:     "rule-of-the-binding",
		Scenario: "switched from on success, create not answered",
		Finds:    lost + "the message of a Job that runs",
		Edits: []rig.Edit{
			{File: handleFile, Old: "	case !record.MessageOnQueue():\n		h.created", New: "	case !h.settings.Load().onJobSucceeded():\n		h.created"},
		},
	},
	{
		// A slot is asked for twice: before the receive, and before the create.
		Name:     "slot-not-reserved",
		Scenario: "a batch of ten",
		Finds:    limitPassed,
		Edits: []rig.Edit{
			{File: slotsFile, Old: "{ return s.open + len(s.expected) }", New: "{ return 0 }"},
		},
	},
	{
		// The Jobs of a requeue that an operator did not live to tell of go uncounted.
		Name:     "requeues-not-held-for-the-status",
		Scenario: "requeue in slices",
		Finds:    miscounted,
		Edits: []rig.Edit{{
			File: sliceFile,
			Old:  "	return !record.SentAt.IsZero() && (",
			New:  "	return false && (",
		}},
	},
}
