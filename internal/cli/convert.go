package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/internal/keda"
)

const (
	// maxConvertBytes is how much is read of a file. Objects of an API server have at most 1.5 MiB.
	maxConvertBytes = 64 << 20
	// commentWidth is how long the lines of a comment are.
	commentWidth = 100
	// maxRemark is how much of a remark is told: a ScaledJob could hold anything.
	maxRemark = 1000
)

// converter writes bindings from KEDA's ScaledJobs.
type converter struct {
	*plugin
	file   string
	output outputFlag
}

func newConvertCommand(p *plugin) *cobra.Command {
	o := &converter{plugin: p}
	cmd := &cobra.Command{
		Use:   "convert -f FILE",
		Short: "Write a binding from a KEDA ScaledJob",
		Long: `Write bindings from KEDA's ScaledJobs with triggers of type aws-sqs-queue, one for
each of these triggers. No cluster is needed, and nothing is applied.

TriggerAuthentications in the same input say which credentials to use:

  kubectl get scaledjobs,triggerauthentications -o yaml | kubectl queuebinding convert -f -

What a binding cannot hold, and what has to be changed before it is of use, is
told on the standard error, and in comments above the binding. If any object of
the input cannot be converted, nothing is written.

docs/migrating-from-keda.md describes the move.`,
		Example: `  kubectl queuebinding convert -f scaledjob.yaml > binding.yaml
  kubectl get scaledjob render -o yaml | kubectl queuebinding convert -f -`,
		Args:              args(0, 0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&o.file, "filename", "f", "", "File with ScaledJobs, in YAML or JSON; - is the standard input.")
	cmd.MarkFlagsOneRequired("filename")
	o.output = newOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return o.run(cmd) }
	return cmd
}

func (o *converter) run(cmd *cobra.Command) error {
	objects, err := o.read()
	if err != nil {
		return err
	}
	conversions, err := keda.Convert(objects)
	if err != nil {
		return err
	}
	for _, c := range conversions {
		for _, remark := range c.Remarks {
			word := "note"
			if remark.Needed {
				word = o.paint(yellow, "to do")
			}
			fmt.Fprintf(o.ErrOut, "%s: %s\n", word, oneLine(remark.String(), maxRemark))
		}
		if err := o.print(cmd, c); err != nil {
			return err
		}
	}
	return nil
}

// read returns the objects of the input, those of lists one by one.
func (o *converter) read() ([]*unstructured.Unstructured, error) {
	in := o.In
	if o.file != "-" {
		file, err := os.Open(o.file)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxConvertBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.file, err)
	}
	if len(data) > maxConvertBytes {
		return nil, fmt.Errorf("%s has more than %d MiB", o.file, maxConvertBytes>>20)
	}
	var objects []*unstructured.Unstructured
	for documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		object := &unstructured.Unstructured{}
		switch err := documents.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", o.file, err)
		case len(object.Object) == 0: // nothing between two separators
		case object.IsList():
			err := meta.EachListItem(object, func(item runtime.Object) error {
				objects = append(objects, item.(*unstructured.Unstructured))
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", o.file, err)
			}
		default:
			objects = append(objects, object)
		}
	}
}

// print writes a binding, in YAML with what there is to say of it above.
func (o *converter) print(cmd *cobra.Command, c keda.Conversion) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c.Binding)
	if err != nil {
		return err
	}
	// What is empty because the Go types have no pointer there.
	for _, path := range [][]string{{"status"}, {"spec", "message"}, {"spec", "jobTemplate", "metadata"}, {"spec", "jobTemplate", "spec", "template", "metadata"}} {
		if value, found, _ := unstructured.NestedMap(content, path...); found && len(value) == 0 {
			unstructured.RemoveNestedField(content, path...)
		}
	}
	if o.output.wanted() && *o.output.OutputFormat != "yaml" {
		return o.output.print(cmd, o.Out, &unstructured.Unstructured{Object: content})
	}
	data, err := yaml.Marshal(content)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.Out, "---\n%s%s", remarkComment(c), data)
	return err
}

// remarkComment is what there is to say of a conversion, as a comment in YAML. Nothing that a ScaledJob holds can end it.
func remarkComment(c keda.Conversion) string {
	var b strings.Builder
	paragraph := func(first, next, text string) {
		line := first
		for word := range strings.FieldsSeq(oneLine(text, maxRemark)) {
			if len(line)+len(word) >= commentWidth && line != first {
				b.WriteString(strings.TrimRight(line, " ") + "\n")
				line = next
			}
			line += word + " "
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	paragraph("# ", "# ", "Converted from the ScaledJob "+c.From+" of KEDA by `kubectl queuebinding convert`.")
	for _, part := range []struct {
		needed  bool
		heading string
	}{{true, "To do:"}, {false, "What is different, or left out:"}} {
		heading := "#\n# " + part.heading + "\n"
		for _, remark := range c.Remarks {
			if remark.Needed == part.needed {
				b.WriteString(heading)
				heading = ""
				paragraph("# - ", "#   ", remark.String())
			}
		}
	}
	return b.String()
}
