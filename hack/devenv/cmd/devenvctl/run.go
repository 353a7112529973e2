package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/queuebinding/queuebinding/hack/devenv"
)

func runCommand(f *flags) *cobra.Command {
	var stopWithStdin bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run an environment in the foreground until SIGINT or SIGTERM",
		Long: `Run an environment in the foreground until SIGINT or SIGTERM.

With --stop-with-stdin it also ends when its standard input does, and takes commands there, one a line: stop, start,
pause or resume and the name of a part. The answer on standard output is a line "ok" or "error: …".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			log := cmd.ErrOrStderr()
			lines := make(chan string)
			if stopWithStdin {
				go func() {
					defer cancel()
					readLines(ctx, cmd.InOrStdin(), lines)
				}()
			}
			// One that was wished for was said by whoever did.
			said := log
			if devenv.NodeKind(f.node) != devenv.Auto {
				said = io.Discard
			}
			if err := f.choose(said); err != nil {
				return err
			}
			if err := f.layout.Build(ctx, f.layout.Plan(f.groups, f.choice.Node), log); err != nil {
				return err
			}
			options := devenv.Options{Layout: f.layout, Dir: f.dir, Groups: f.groups, Fast: f.fast, Node: f.choice.Node, Log: log}
			return devenv.Run(ctx, options, func(s *devenv.Supervisor) {
				for {
					select {
					case line := <-lines:
						fmt.Fprintln(cmd.OutOrStdout(), answer(ctx, s, line))
					case <-ctx.Done():
						return
					}
				}
			})
		},
	}
	cmd.Flags().BoolVar(&stopWithStdin, "stop-with-stdin", false, "end with standard input and take commands on it")
	f.addParts(cmd)
	f.addNode(cmd)
	f.addFast(cmd)
	return cmd
}

// readLines sends what r holds line by line and returns at its end.
func readLines(ctx context.Context, r io.Reader, lines chan<- string) {
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		select {
		case lines <- scanner.Text():
		case <-ctx.Done():
			return
		}
	}
}

func answer(ctx context.Context, s *devenv.Supervisor, line string) string {
	words := strings.Fields(line)
	if len(words) < 2 {
		return "error: a command is a verb and a part, and for start more arguments: " + strings.Join(devenv.Verbs, ", ")
	}
	if err := s.Control(ctx, words[0], words[1], words[2:]...); err != nil {
		return "error: " + strings.ReplaceAll(err.Error(), "\n", " | ")
	}
	return "ok"
}
