package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// none stands for what is not known or not there.
const none = "-"

// outputFlag is kubectl's -o, for a command whose answer is an object.
type outputFlag struct{ *genericclioptions.PrintFlags }

func newOutputFlag(cmd *cobra.Command) outputFlag {
	flags := genericclioptions.NewPrintFlags("").WithTypeSetter(scheme)
	flags.AddFlags(cmd)
	return outputFlag{flags}
}

// wanted reports whether the caller chose a format.
func (f outputFlag) wanted() bool { return f.OutputFormat != nil && *f.OutputFormat != "" }

// print writes an object in the chosen format.
func (f outputFlag) print(cmd *cobra.Command, w io.Writer, object runtime.Object) error {
	printer, err := f.ToPrinter()
	if err != nil {
		return misuse(cmd, err)
	}
	return printer.PrintObj(object, w)
}

// printList writes a list in the chosen format: as one list, or for names item by item.
func (f outputFlag) printList(cmd *cobra.Command, w io.Writer, list runtime.Object) error {
	var problem error
	err := meta.EachListItem(list, func(item runtime.Object) error {
		// A typed client leaves the kinds of items out.
		kind, err := apiutil.GVKForObject(item, scheme)
		if err != nil {
			return err
		}
		item.GetObjectKind().SetGroupVersionKind(kind)
		if *f.OutputFormat == "name" {
			problem = errors.Join(problem, f.print(cmd, w, item))
		}
		return nil
	})
	if err = errors.Join(err, problem); err != nil || *f.OutputFormat == "name" {
		return err
	}
	return f.print(cmd, w, list)
}

// table writes rows in columns. Cells are one line each.
func table(w io.Writer, header []string, rows [][]string) error {
	columns := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(columns, strings.Join(header, "\t"))
	for _, row := range rows {
		fmt.Fprintln(columns, strings.Join(row, "\t"))
	}
	return columns.Flush()
}

// oneLine fits text into a cell: in one line, without control characters that could play tricks on a terminal.
func oneLine(text string, most int) string {
	text = harmless(strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(text))
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// harmless replaces control characters, but for tabs: a terminal would do as they say.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return '.'
		}
		return r
	}, text)
}

// printable escapes what could play tricks on a terminal, as kubectl does.
func printable(text string) string { return printers.EscapeTerminal(text) }

// age is how long ago a time was, as kubectl says it.
func (p *plugin) age(at time.Time) string {
	if at.IsZero() {
		return none
	}
	return duration.HumanDuration(p.Clock.Since(at))
}

func (p *plugin) ageOf(at *metav1.Time) string {
	if at == nil {
		return none
	}
	return p.age(at.Time)
}

// number is a count of the status, where it is known.
func number[N int32 | int64](n *N) string {
	if n == nil {
		return none
	}
	return fmt.Sprint(*n)
}

// Colours of a terminal.
const (
	green  = "32"
	yellow = "33"
	red    = "31"
	bold   = "1"
)

// paint colours text for a person.
func (p *plugin) paint(colour, text string) string {
	if !p.Colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// plural is a count of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
