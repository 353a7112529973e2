package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"strconv"

	"go.opentelemetry.io/otel/trace"
)

// Attempt says which attempt at which message a Job is. The IDs of its spans, and of its trace where the producer began none, follow
// from it: whoever makes the Job again after a crash gives it the same, and whoever sees it end knows them.
type Attempt struct {
	// BindingUID is the UID of the binding, Root the ID of the message as it was first sent.
	BindingUID, Root string
	// Number counts from 1.
	Number int
}

// Spans of an attempt whose IDs follow from it.
const (
	spanCreate = "create"
	spanJob    = "job"
)

// traceID is that of a message whose producer began no trace: the same for all attempts.
func (a Attempt) traceID() (id trace.TraceID) {
	copy(id[:], digest("trace", a.BindingUID, a.Root))
	return id
}

func (a Attempt) spanID(of string) (id trace.SpanID) {
	copy(id[:], digest(of, a.BindingUID, a.Root, strconv.Itoa(a.Number)))
	return id
}

// before is the attempt before this one, if there is one.
func (a Attempt) before() (Attempt, bool) {
	a.Number--
	return a, a.Number > 0
}

// context is that of a span of the attempt, in the same trace and with the same decision about sampling as another context.
func (a Attempt) context(of string, like trace.SpanContext) trace.SpanContext {
	return like.WithSpanID(a.spanID(of))
}

// digest is a hash of fields, each after its length, so that no two lists of fields give the same.
func digest(fields ...string) []byte {
	h := sha256.New()
	for _, field := range fields {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(field)))
		h.Write(length[:])
		h.Write([]byte(field))
	}
	return h.Sum(nil)
}

// chosen are the IDs that the next span of a context is to have; what is zero is drawn.
type chosen struct {
	traceID trace.TraceID
	spanID  trace.SpanID
}

type chosenKey struct{}

func choose(ctx context.Context, ids chosen) context.Context {
	return context.WithValue(ctx, chosenKey{}, ids)
}

// generator gives spans the IDs that were chosen for them, and draws the others.
type generator struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g generator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	ids, _ := ctx.Value(chosenKey{}).(chosen)
	for !ids.traceID.IsValid() {
		binary.NativeEndian.PutUint64(ids.traceID[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(ids.traceID[8:], rand.Uint64())
	}
	return ids.traceID, g.NewSpanID(ctx, ids.traceID)
}

// NewSpanID implements sdktrace.IDGenerator.
func (generator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	ids, _ := ctx.Value(chosenKey{}).(chosen)
	for !ids.spanID.IsValid() {
		binary.NativeEndian.PutUint64(ids.spanID[:], rand.Uint64())
	}
	return ids.spanID
}
