package queue

import (
	"fmt"
	"strings"
	"testing"
)

func TestABatchHoldsTenMessagesAndAMebibyte(t *testing.T) {
	sized := func(sizes ...int) []Outgoing {
		messages := make([]Outgoing, len(sizes))
		for i, size := range sizes {
			messages[i].Body = strings.Repeat("x", size)
		}
		return messages
	}
	const whole, half = MaxMessageBytes, MaxMessageBytes / 2
	for name, tc := range map[string]struct {
		messages    []Outgoing
		want        string
		wantRefused string
	}{
		"none":                     {want: "[]", wantRefused: "[]"},
		"eleven":                   {messages: sized(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), want: "[[0 1 2 3 4 5 6 7 8 9] [10]]", wantRefused: "[]"},
		"halves":                   {messages: sized(half, half, half), want: "[[0 1] [2]]", wantRefused: "[]"},
		"one byte too many":        {messages: sized(half, half+1, 1), want: "[[0] [1 2]]", wantRefused: "[]"},
		"whole mebibytes":          {messages: sized(whole, whole), want: "[[0] [1]]", wantRefused: "[]"},
		"what SQS refuses is none": {messages: sized(1, 0, whole+1, 1), want: "[[0 3]]", wantRefused: "[1 2]"},
	} {
		t.Run(name, func(t *testing.T) {
			batches, errs := Batches(tc.messages)
			refused := []int{}
			for i, err := range errs {
				if err != nil && ReasonOf(err) == InvalidMessage {
					refused = append(refused, i)
				}
			}
			if got := fmt.Sprint(batches); got != tc.want || fmt.Sprint(refused) != tc.wantRefused || len(errs) != len(tc.messages) {
				t.Errorf("got %s and refused %v, want %s and %s", got, refused, tc.want, tc.wantRefused)
			}
		})
	}
}
