package requeue

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		text          string
		want          string
		wantMalformed []string
	}{
		"nothing":        {"", "", nil},
		"blank":          {" , ", "", nil},
		"a name":         {"pings-a", "pings-a", nil},
		"names":          {"b, a,b", "a,b", nil},
		"all":            {"all", "all", nil},
		"all, with time": {"all@2026-01-02T03:04:05Z", "all@2026-01-02T03:04:05Z", nil},
		"all and a name": {"a,all", "all,a", nil},
		"two times":      {"all@2026-01-02T03:04:05Z,all@2026-01-02T03:04:06Z", "all@2026-01-02T03:04:06Z", nil},
		"not a time":     {"all@noon,a", "a", []string{"all@noon"}},
		"not a name":     {"Bad_name,a", "a", []string{"Bad_name"}},
		"a wildcard":     {"*", "", []string{"*"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, malformed := Parse(tc.text)
			if got.String() != tc.want || !slices.Equal(malformed, tc.wantMalformed) {
				t.Errorf("got %q and %q, want %q and %q", got, malformed, tc.want, tc.wantMalformed)
			}
		})
	}
}

func drawIntent(t *rapid.T, label string) Intent {
	intent := Named(rapid.SliceOfN(rapid.StringMatching(`[a-d]`), 0, 4).Draw(t, label+" names")...)
	if rapid.Bool().Draw(t, label+" all") {
		intent.All = true
		if at := rapid.Int64Range(0, 5).Draw(t, label+" time"); at > 0 {
			intent.Before = time.Unix(at, 0).UTC()
		}
	}
	return intent
}

// Two who ask at the same time get the same as one after the other, and asking twice is asking once.
func TestMergeIsASetUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawIntent(t, "a"), drawIntent(t, "b"), drawIntent(t, "c")
		for law, sides := range map[string][2]Intent{
			"commutative": {a.Merge(b), b.Merge(a)},
			"associative": {a.Merge(b).Merge(c), a.Merge(b.Merge(c))},
			"idempotent":  {a.Merge(a), a},
			"neutral":     {a.Merge(Intent{}), a},
		} {
			if sides[0].String() != sides[1].String() {
				t.Errorf("not %s: %q and %q", law, sides[0], sides[1])
			}
		}
		if again, malformed := Parse(a.String()); again.String() != a.String() || malformed != nil {
			t.Errorf("%q is read as %q", a, again)
		}
	})
}

// What was asked for while other things were done is still asked for.
func TestWithoutKeepsWhatWasNotDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		done, asked := drawIntent(t, "done"), drawIntent(t, "asked")
		if done.All && done.Before.IsZero() {
			done.Before = time.Unix(3, 0).UTC() // only an `all` with a time is ever done
		}
		rest := done.Merge(asked).Without(done)
		for name := range asked.Names {
			_, isDone := done.Names[name]
			_, isLeft := rest.Names[name]
			if isDone == isLeft {
				t.Errorf("%s: done %t, left %t", name, isDone, isLeft)
			}
		}
		wantAll := asked.All && (!done.All || asked.Before.IsZero() || asked.Before.After(done.Before))
		if rest.All != wantAll {
			t.Errorf("all left %t, want %t: done %q, asked %q", rest.All, wantAll, done, asked)
		}
	})
}
