// Package requeue puts the messages of failed Jobs back on their queue. Whoever asks resolves a Requeue into a Selection and
// adds that to the binding's Intent, which is an annotation of the binding and survives whoever asked; the leader executes
// the Intent and removes from it what is done. Executing it twice ends in one Job. This package alone writes the
// annotation.
package requeue

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
)

// MaxNames bounds the Job names of an intent. Any valid Requeue fits into an empty one.
const MaxNames = subresources.MaxJobNames

// all stands for all failed Jobs in an intent's text.
const all = "all"

// Intent is the set of a binding's Jobs that are to be requeued.
type Intent struct {
	// All asks for all Jobs that had failed by Before.
	All bool
	// Before is zero where All was asked for and no time is set yet: without one it would never end.
	Before time.Time
	// Names asks for Jobs by name.
	Names map[string]struct{}
}

// Named returns the intent to requeue Jobs by name.
func Named(names ...string) Intent {
	intent := Intent{Names: make(map[string]struct{}, len(names))}
	for _, name := range names {
		intent.Names[name] = struct{}{}
	}
	return intent
}

// Parse parses the text of the annotation: `all`, `all@<RFC 3339 time>` and Job names, separated by commas. Blanks around them
// are ignored. Words that are none of these are returned as malformed; the rest counts.
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

// String formats the intent for the annotation. It is empty for an intent that asks for nothing.
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

// SortedNames returns the names in order.
func (i Intent) SortedNames() []string { return slices.Sorted(maps.Keys(i.Names)) }

// IsEmpty reports whether the intent asks for nothing.
func (i Intent) IsEmpty() bool { return !i.All && len(i.Names) == 0 }

// Merge returns the intent that asks for what either asks for. Order does not matter, nor does merging twice.
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

// Without returns what is left of the intent once another has been done.
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

// fit divides names into those that there is room for beside the intent's own, and the rest. Names that the intent holds
// already take no room.
func (i Intent) fit(names []string) (fits, rest []string) {
	free := MaxNames - len(i.Names)
	for _, name := range names {
		_, held := i.Names[name]
		switch {
		case held:
			fits = append(fits, name)
		case free > 0:
			fits = append(fits, name)
			free--
		default:
			rest = append(rest, name)
		}
	}
	return fits, rest
}
