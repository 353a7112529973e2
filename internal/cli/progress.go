package cli

import (
	"fmt"
	"io"
	"strings"
)

// barWidth is the length of a progress bar, in characters.
const barWidth = 30

// progress is a bar on a terminal, and nothing in a pipe.
type progress struct {
	out   io.Writer
	what  string
	drawn string
}

// newProgress shows progress of what is being done, such as "back on the queue".
func newProgress(p *plugin, what string) *progress {
	if !p.ErrTerminal {
		return &progress{out: io.Discard, what: what}
	}
	return &progress{out: p.ErrOut, what: what}
}

// show draws how many of a total are done. A total of 0 is one that is not known.
func (b *progress) show(done, total int) {
	line := fmt.Sprintf("%d %s", done, b.what)
	if total > 0 {
		full := barWidth * done / total
		line = fmt.Sprintf("[%s%s] %d of %d %s", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), done, total, b.what)
	}
	if line != b.drawn {
		fmt.Fprint(b.out, "\r\x1b[K", line)
		b.drawn = line
	}
}

// end leaves the line, if there is one.
func (b *progress) end() {
	if b.drawn != "" {
		fmt.Fprintln(b.out)
	}
}
