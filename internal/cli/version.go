package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/queuebinding/queuebinding/internal/version"
)

func newVersionCommand(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print which build of the plugin this is",
		Args:              args(0, 0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.Out, program, version.Get())
			return err
		},
	}
}
