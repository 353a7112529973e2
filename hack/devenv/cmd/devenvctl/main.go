// Command devenvctl starts, shows and ends development environments.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/queuebinding/queuebinding/hack/devenv"
)

// exitError is an error that was told already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	var code exitError
	var shell *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	case errors.As(err, &shell) && shell.ExitCode() > 0:
		fmt.Fprintln(os.Stderr, "devenvctl:", err)
		os.Exit(shell.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "devenvctl:", err)
		os.Exit(1)
	}
}

// flags are those of all commands.
type flags struct {
	dir   string
	parts []string
	fast  bool
	node  string
	root  string

	layout devenv.Layout
	choice devenv.Choice
	groups []string
}

func newCommand() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:           "devenvctl",
		Short:         "A Kubernetes cluster and an SQS queue on loopback ports, for development and tests",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return f.complete()
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().StringVar(&f.dir, "dir", "", "state directory (default bin/devenv in the repository)")
	root.PersistentFlags().StringVar(&f.root, "root", "", "the repository (default: the one that holds this program, or the working directory)")
	root.AddCommand(upCommand(&f), runCommand(&f), downCommand(&f), statusCommand(&f), shellCommand(&f), buildCommand(&f), programCommand(&f), nodeCommand(&f),
		packCommand(), loadCommand(&f), deployCommand(&f), servicesCommand(&f))
	return root
}

func (f *flags) addParts(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.parts, "parts", nil,
		"what to run: of "+strings.Join(devenv.GroupNames(), ", ")+", or all, which is the first five (default all)")
}

func (f *flags) addNode(cmd *cobra.Command) {
	wish := os.Getenv("NODE")
	if wish == "" {
		wish = string(devenv.Auto)
	}
	cmd.Flags().StringVar(&f.node, "node", wish, "what runs Pods: simulated, real (containers; needs Linux, root and some packages) or auto (also NODE=…)")
}

// choose chooses the node and says which, if there is to be one.
func (f *flags) choose(out io.Writer) error {
	wish := devenv.NodeKind(f.node)
	if !slices.Contains(f.groups, devenv.Nodes) {
		wish = devenv.Simulated
	}
	var err error
	if f.choice, err = devenv.ChooseNode(wish); err != nil {
		return err
	}
	if slices.Contains(f.groups, devenv.Nodes) {
		fmt.Fprintln(out, f.choice.Why)
	}
	return nil
}

func (f *flags) addFast(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.fast, "fast", isSet(os.Getenv("FAST")), "give up durability for speed, for tests (also FAST=1)")
}

func isSet(value string) bool { return value != "" && value != "0" && value != "false" }

func (f *flags) complete() error {
	if f.root == "" {
		var places []string
		if program, err := os.Executable(); err == nil {
			places = append(places, filepath.Dir(program))
		}
		root, err := devenv.FindRoot(append(places, ".")...)
		if err != nil {
			return err
		}
		f.root = root
	}
	var err error
	if f.layout, err = devenv.NewLayout(f.root); err != nil {
		return err
	}
	if f.dir == "" {
		f.dir = f.layout.DefaultDir()
	}
	if f.dir, err = filepath.Abs(f.dir); err != nil {
		return fmt.Errorf("resolving the state directory: %w", err)
	}
	f.groups, err = devenv.ParseGroups(f.parts)
	return err
}

func buildCommand(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build what is missing, without starting anything",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.choose(cmd.OutOrStdout()); err != nil {
				return err
			}
			stages := f.layout.Plan(f.groups, f.choice.Node)
			if len(stages) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "All programs of the development environment are built.")
			}
			return f.layout.Build(cmd.Context(), stages, cmd.OutOrStdout())
		},
	}
	f.addParts(cmd)
	f.addNode(cmd)
	return cmd
}

func programCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "program NEIGHBOUR NAME",
		Short: "Print the path of a program that stands beside a neighbour's, built if need be, such as prometheus promtool",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := f.layout.NeighbourProgram(args[0], args[1])
			if err != nil {
				return err
			}
			if err := f.layout.Build(cmd.Context(), f.layout.Plan(args[:1], devenv.SimulatedNode()), cmd.ErrOrStderr()); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), path)
			return nil
		},
	}
}

func nodeCommand(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Tell which node an environment would get here, and why; fails where the wished one cannot run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			choice, err := devenv.ChooseNode(devenv.NodeKind(f.node))
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", choice.Node.Kind(), choice.Why)
			}
			return err
		},
	}
	f.addNode(cmd)
	return cmd
}

func downCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the environment and remove its state",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return devenv.TakeDown(f.dir, cmd.OutOrStdout())
		},
	}
}

func statusCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the parts; the exit code is 0 when up, 1 when down, 2 when half-dead or not ready yet",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := devenv.Inspect(f.dir)
			if err != nil {
				return err
			}
			if err := report.WriteTable(cmd.OutOrStdout(), f.dir); err != nil {
				return err
			}
			switch report.Condition {
			case devenv.Up:
				return nil
			case devenv.Down:
				return exitError(1)
			case devenv.HalfDead:
				fmt.Fprintln(cmd.OutOrStdout(), "To mend it: devenvctl down, then up.")
			}
			return exitError(2)
		},
	}
}

func shellCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "shell",
		Short: "Open $SHELL with the environment's variables",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := devenv.Environ(f.dir)
			if err != nil {
				return fmt.Errorf("the environment is not up; start it with `devenvctl up`: %w", err)
			}
			shell := os.Getenv("SHELL")
			if shell == "" {
				shell = "/bin/sh"
			}
			path, err := exec.LookPath(shell)
			if err != nil {
				return fmt.Errorf("finding $SHELL: %w", err)
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "A shell with the development environment; leave it with exit.")
			return syscall.Exec(path, []string{shell}, env)
		},
	}
}
