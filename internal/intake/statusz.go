package intake

import (
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"
)

// ServeHTTP writes what each loop waits for, as text.
func (r *Registry) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	states := r.States()
	fmt.Fprintf(w, "%d bindings are being received for\n\n", len(states))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BINDING\tWAITS FOR\tSINCE\tACTIVE\tPENDING\tFAILED\tRESERVED\tQUEUE\tJOBS")
	for _, s := range states {
		what := s.WaitsFor
		if s.Stuck {
			what += " (stuck)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n",
			s.Binding, what, s.For.Round(time.Millisecond), s.Active, s.Pending, s.Failed, s.Reserved, orOK(s.QueueReason), orOK(s.BlockedReason))
	}
	_ = table.Flush() // whoever asked may have gone
}

func orOK(reason string) string {
	if reason == "" {
		return "ok"
	}
	return reason
}
