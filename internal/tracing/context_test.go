package tracing

import (
	"strings"
	"testing"
)

// Producers write what they want: what is no context is ignored, whatever its size.
func TestExtract(t *testing.T) {
	const (
		traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		header      = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
		ofHeader    = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
	)
	for name, tc := range map[string]struct {
		traceparent, tracestate, header string
		want, wantState                 string
	}{
		"nothing":                        {},
		"a traceparent":                  {traceparent: traceparent, want: traceparent},
		"not sampled":                    {traceparent: traceparent[:54] + "0", want: traceparent[:54] + "0"},
		"with a tracestate":              {traceparent: traceparent, tracestate: "a=1,b=2", want: traceparent, wantState: "a=1,b=2"},
		"a tracestate alone":             {tracestate: "a=1"},
		"a malformed tracestate":         {traceparent: traceparent, tracestate: "=,$(HOME)", want: traceparent},
		"a tracestate that is too long":  {traceparent: traceparent, tracestate: strings.Repeat("a=1,", 200), want: traceparent},
		"a later version":                {traceparent: "01" + traceparent[2:] + "-more", want: traceparent},
		"an unknown field in version 00": {traceparent: traceparent + "-more"},
		"zeros":                          {traceparent: "00-" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16) + "-01"},
		"upper case":                     {traceparent: strings.ToUpper(traceparent)},
		"a mebibyte":                     {traceparent: "01" + traceparent[2:] + "-" + strings.Repeat("a", 1<<20)},
		"an X-Ray header":                {header: header, want: ofHeader},
		"beside a traceparent":           {traceparent: traceparent, header: header, want: traceparent},
		"beside a malformed one":         {traceparent: "no", header: header, want: ofHeader},
		"in another order":               {header: "Sampled=0; Parent=53995c3f42cd8ad8;Lineage=a:1;Root=1-5759e988-bd862e3fe1be46a994272793", want: ofHeader[:54] + "0"},
		"without a decision":             {header: strings.TrimSuffix(header, ";Sampled=1"), want: ofHeader[:54] + "0"},
		"without a parent":               {header: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"},
		"with half a parent":             {header: "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f"},
		"without a root":                 {header: "Parent=53995c3f42cd8ad8;Sampled=1"},
		"a root that is no hexadecimal":  {header: strings.Replace(header, "bd862e", "xxxxxx", 1)},
		"a root without dashes":          {header: strings.Replace(header, "-bd8", "abd8", 1)},
		"a header that is too long":      {header: header + strings.Repeat(";a=b", 1000)},
		"words":                          {traceparent: "$(HOME)", header: ";;==;"},
	} {
		t.Run(name, func(t *testing.T) {
			got, state := Inject(Extract(tc.traceparent, tc.tracestate, tc.header))
			if got != tc.want || state != tc.wantState {
				t.Errorf("got %q and %q, want %q and %q", got, state, tc.want, tc.wantState)
			}
		})
	}
	if got := TraceHeader(Extract(ofHeader, "", "")); got != header {
		t.Errorf("as X-Ray's header it is %q, want %q", got, header)
	}
}

// A message without a context costs nothing.
func TestNoContextAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Extract("", "", "") }); n != 0 {
		t.Errorf("it took %v allocations", n)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
	f.Fuzz(func(t *testing.T, traceparent, tracestate, header string) {
		parent, state := Inject(Extract(traceparent, tracestate, header))
		if len(parent) != 0 && len(parent) != 55 || len(state) > maxTracestate {
			t.Errorf("%d and %d bytes reach the Job", len(parent), len(state))
		}
	})
}
