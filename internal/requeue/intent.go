// Package requeue puts failed Jobs back on their queue. What is asked for is an Intent, recorded as an annotation of
// the binding, so that it survives whoever asked and whoever was about to do it; doing it twice ends in one Job.
package requeue

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// MaxNames is the most Job names of an intent.
const MaxNames = 1000

const all = "all"

// Intent is which Jobs of a binding are to be requeued.
type Intent struct {
	// All asks for all Jobs that had failed by Before.
	All bool
	// Before is zero where All was asked for and no time is set yet: without one it would never end.
	Before time.Time
	// Names asks for Jobs by name.
	Names map[string]struct{}
}

// Named is the intent to requeue Jobs by name.
func Named(names ...string) Intent {
	intent := Intent{Names: make(map[string]struct{}, len(names))}
	for _, name := range names {
		intent.Names[name] = struct{}{}
	}
	return intent
}

// Parse reads an intent as it stands in the annotation: `all`, `all@<RFC 3339 time>` and Job names, separated by
// commas. Blanks around them are ignored. Words that are none of these are returned as malformed; the rest counts.
func Parse(text string) (intent Intent, malformed []string) {
	intent = Named()
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		switch {
		case word == "":
		case word == all:
			intent = intent.Merge(Intent{All: true})
		case strings.HasPrefix(word, all+"@"):
			before, err := time.Parse(time.RFC3339, strings.TrimPrefix(word, all+"@"))
			if err != nil {
				malformed = append(malformed, word)
				continue
			}
			intent = intent.Merge(Intent{All: true, Before: before})
		case len(validation.IsDNS1123Subdomain(word)) > 0:
			malformed = append(malformed, word)
		default:
			intent.Names[word] = struct{}{}
		}
	}
	return intent, malformed
}

// String writes the intent for the annotation. It is empty for an intent that asks for nothing.
func (i Intent) String() string {
	var words []string
	switch {
	case i.All && i.Before.IsZero():
		words = append(words, all)
	case i.All:
		words = append(words, fmt.Sprintf("%s@%s", all, i.Before.UTC().Format(time.RFC3339)))
	}
	return strings.Join(append(words, i.SortedNames()...), ",")
}

// SortedNames are the names in order.
func (i Intent) SortedNames() []string { return slices.Sorted(maps.Keys(i.Names)) }

// IsEmpty is whether the intent asks for nothing.
func (i Intent) IsEmpty() bool { return !i.All && len(i.Names) == 0 }

// Merge is the intent that asks for what either asks for. The order does not matter, nor how often.
func (i Intent) Merge(other Intent) Intent {
	merged := Intent{All: i.All || other.All, Names: make(map[string]struct{}, len(i.Names)+len(other.Names))}
	maps.Copy(merged.Names, i.Names)
	maps.Copy(merged.Names, other.Names)
	switch {
	case i.All && i.Before.IsZero(), other.All && other.Before.IsZero():
		// An `all` without a time gets a later one than any that is set.
	case i.Before.After(other.Before):
		merged.Before = i.Before
	default:
		merged.Before = other.Before
	}
	return merged
}

// Without is what is left of the intent when another has been done.
func (i Intent) Without(done Intent) Intent {
	rest := Named()
	for name := range i.Names {
		if _, ok := done.Names[name]; !ok {
			rest.Names[name] = struct{}{}
		}
	}
	if i.All && (!done.All || i.Before.IsZero() || i.Before.After(done.Before)) {
		rest.All, rest.Before = true, i.Before
	}
	return rest
}
