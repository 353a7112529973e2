// Command plugindocs writes the kubectl plugin's commands into one Markdown file: plugindocs <file>.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/queuebinding/queuebinding/internal/cli"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plugindocs:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: plugindocs <file>")
	}
	// The default of --cache-dir would be this user's home.
	if err := os.Setenv("KUBECACHEDIR", "$HOME/.kube/cache"); err != nil {
		return err
	}
	root := cli.NewCommand(&cli.Env{})
	root.DisableAutoGenTag = true
	var page bytes.Buffer
	page.WriteString("<!-- Generated from the commands by `make generate`: do not edit. -->\n\n")
	for _, command := range withSubcommands(root) {
		if !command.IsAvailableCommand() && command != root {
			continue
		}
		command.DisableAutoGenTag = true
		var section bytes.Buffer
		if err := doc.GenMarkdownCustom(command, &section, link); err != nil {
			return fmt.Errorf("document %s: %w", command.CommandPath(), err)
		}
		text := section.String()
		// The global flags stand once, with the root command; ways back are for separate files.
		for _, heading := range []string{"### Options inherited from parent commands", "### SEE ALSO"} {
			if before, _, found := strings.Cut(text, heading); found && (command != root || !strings.HasSuffix(heading, "ALSO")) {
				text = before
			}
		}
		page.WriteString(strings.TrimRight(text, "\n") + "\n\n")
	}
	return os.WriteFile(args[0], append(bytes.TrimRight(page.Bytes(), "\n"), '\n'), 0o644)
}

// withSubcommands returns a command and all below it, each before its own.
func withSubcommands(command *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{command}
	for _, each := range command.Commands() {
		all = append(all, withSubcommands(each)...)
	}
	return all
}

// link leads from the name of a command's file to the command's heading on the page.
func link(file string) string {
	return "#" + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSuffix(file, ".md"), "_", "-"), " ", "-")
}
