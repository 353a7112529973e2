package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/queuebinding/queuebinding/hack/devenv"
)

func upCommand(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start an environment in the background and return when it is ready",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return up(cmd, f) },
	}
	f.addParts(cmd)
	f.addNode(cmd)
	f.addFast(cmd)
	return cmd
}

func up(cmd *cobra.Command, f *flags) error {
	out := cmd.OutOrStdout()
	report, err := devenv.Inspect(f.dir)
	if err != nil {
		return err
	}
	switch report.Condition {
	case devenv.Up:
		if wish := devenv.NodeKind(f.node); wish != devenv.Auto && report.State.Node != "" && wish != report.State.Node {
			return fmt.Errorf("it is up already, with a node that is %s, not %s; end it first: devenvctl down --dir %s", report.State.Node, wish, f.dir)
		}
		if missing := slices.DeleteFunc(slices.Clone(f.groups), func(group string) bool {
			return slices.Contains(report.State.Groups, group)
		}); len(f.parts) > 0 && len(missing) > 0 {
			return fmt.Errorf("it is up already, without %s; end it first: devenvctl down --dir %s", strings.Join(missing, ", "), f.dir)
		}
		fmt.Fprintf(out, "It is up already (%s).\n", strings.Join(report.State.Groups, ", "))
		howToUse(cmd, f)
		return nil
	case devenv.Starting:
		return fmt.Errorf("it is starting already; ask again with `devenvctl status --dir %s`", f.dir)
	case devenv.HalfDead:
		if err := report.WriteTable(out, f.dir); err != nil {
			return err
		}
		return fmt.Errorf("only parts of it run; end them first: devenvctl down --dir %s", f.dir)
	}
	if report.Leftovers {
		fmt.Fprintln(out, "Clearing away an environment that ended without `down`.")
		if err := devenv.TakeDown(f.dir, io.Discard); err != nil {
			return err
		}
	}
	// Here, where the user sees it: the supervisor would do it unseen.
	if err := f.choose(out); err != nil {
		return err
	}
	if err := f.layout.Build(cmd.Context(), f.layout.Plan(f.groups, f.choice.Node), out); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	args := []string{"run", "--root", f.root, "--dir", f.dir, "--parts", strings.Join(f.groups, ","), "--node", string(f.choice.Node.Kind())}
	if f.fast {
		args = append(args, "--fast")
	}
	if err := devenv.Start(cmd.Context(), f.dir, program, args, out); err != nil {
		return err
	}
	howToUse(cmd, f)
	return nil
}

func howToUse(cmd *cobra.Command, f *flags) {
	path := filepath.Join(f.dir, "env")
	if wd, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(relative, "..") {
			path = relative
		}
	}
	if !strings.Contains(path, "/") {
		path = "./" + path
	}
	fmt.Fprintf(cmd.OutOrStdout(), "To use it in this shell:  . %s\n", quoted(path))
}

// quoted is for a user to copy; most paths need no quotes.
func quoted(path string) string {
	if strings.ContainsAny(path, " '\"$&;()") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
