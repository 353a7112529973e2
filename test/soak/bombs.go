package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// bombVariable multiplies a field that only bombs have: its result is far larger than what an environment variable can hold.
var bombVariable = v1alpha1.Variable{Name: "bomb", Expression: `has(message.json.bomb) ? message.json.bomb.replace("a", message.json.bomb) : ""`}

// bombEvery is how often a bomb is sent. They come back as others do that are rejected.
const bombEvery = 12 * time.Second

// bomb sends messages that take much memory to look at and can be no Jobs: each stays on the queue, and whatever is beside it
// becomes a Job.
func (s *soak) bomb(ctx context.Context, b *binding) {
	const mebibyte = 1 << 20
	kinds := []struct{ name, body string }{
		{"bombs of small objects", `{"target": "127.0.0.1", "duration": 0, "pad": [` + strings.Repeat("{},", mebibyte/3-100) + `{}]}`},
		{"bombs of deep nesting", strings.Repeat("[", mebibyte/10) + strings.Repeat("]", mebibyte/10)},
		{"bombs of a huge number", `{"target": "127.0.0.1", "duration": 1` + strings.Repeat("0", mebibyte/5) + `}`},
		{"bombs that an expression multiplies", fmt.Sprintf(`{"target": "127.0.0.1", "duration": 0, "bomb": %q}`, strings.Repeat("a", 4<<10))},
	}
	for n := 0; ctx.Err() == nil; n++ {
		kind := kinds[n%len(kinds)]
		id, err := b.queue.Send(context.WithoutCancel(ctx), kind.body)
		if err != nil {
			s.say("Could not send: %v", err)
		} else {
			s.count(kind.name)
			b.mu.Lock()
			b.bombs[id] = true
			b.mu.Unlock()
		}
		pause(ctx, bombEvery)
	}
}
