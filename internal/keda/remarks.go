package keda

import "fmt"

// Remark is something of a ScaledJob that its binding does not hold as it was.
type Remark struct {
	// Field is what it is about, as a path in the ScaledJob.
	Field string
	// Text says what becomes of it and what to do instead.
	Text string
	// Needed is set where somebody has to do something before the binding is of use.
	Needed bool
}

// String is the remark in one line, if its field is.
func (r Remark) String() string { return r.Field + ": " + r.Text }

// remarks gathers what is to be said.
type remarks []Remark

// note says what becomes of a field.
func (r *remarks) note(field, format string, args ...any) {
	*r = append(*r, Remark{Field: field, Text: fmt.Sprintf(format, args...)})
}

// need says what has to be done.
func (r *remarks) need(field, format string, args ...any) {
	*r = append(*r, Remark{Field: field, Text: fmt.Sprintf(format, args...), Needed: true})
}
