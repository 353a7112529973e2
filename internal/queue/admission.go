package queue

import "context"

// Admit is asked before the messages in an answer are read, by how many bytes the answer has, and returns when there is room for
// them. It may be asked again where an answer could not be read to its end. While it waits nothing is read, and the messages
// are hidden already: what it must not do is fail where it could wait.
type Admit func(ctx context.Context, bytes int64) error

type admitKey struct{}

// WithAdmission has a Receive with the context ask before it reads messages.
func WithAdmission(ctx context.Context, admit Admit) context.Context {
	return context.WithValue(ctx, admitKey{}, admit)
}

// AdmissionOf is what a Receive has to ask, or nil.
func AdmissionOf(ctx context.Context) Admit {
	admit, _ := ctx.Value(admitKey{}).(Admit)
	return admit
}
