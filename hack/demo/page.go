package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// page prints what a reader sees. Colours are for terminals only, so that a log of the demo reads as well.
type page struct {
	out     io.Writer
	colours bool
	started time.Time
}

func newPage(out *os.File) *page {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &page{out: &lockedWriter{out: out}, colours: terminal && os.Getenv("NO_COLOR") == "", started: time.Now()}
}

// lockedWriter keeps whole what a command writes to its two outputs at once.
type lockedWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

const (
	bold  = "1"
	green = "32"
	red   = "31"
)

func (p *page) paint(style, text string) string {
	if !p.colours {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p *page) elapsed() time.Duration {
	return time.Since(p.started).Round(time.Second)
}

func (p *page) heading(text string) {
	fmt.Fprintf(p.out, "\n%s (after %s)\n\n", p.paint(bold, "== "+text), p.elapsed())
}

func (p *page) say(format string, arguments ...any) {
	fmt.Fprintf(p.out, format+"\n", arguments...)
}

// command shows a command as it would be typed.
func (p *page) command(text string) {
	fmt.Fprintln(p.out, p.paint(bold, "$ "+text))
}

func (p *page) verdict(ok bool) string {
	if ok {
		return p.paint(green, "ok    ")
	}
	return p.paint(red, "FAILED")
}
