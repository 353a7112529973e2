// Command release makes what a release consists of, and does what belongs to it: `make release`, `make krew` and `make pin` call it.
// The same commit gives the same bytes, wherever and whenever it is built: versions and times are those of the commit, and what
// a registry is asked for is written down by its digest.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "release",
		Short:         "Make what a release consists of",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(buildCommand(), showCommand(), krewCommand(), signCommand(), pushCommand(), pinCommand())
	return root
}

func buildCommand() *cobra.Command {
	b := &builder{}
	var platforms []string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the plugin's archives, the image and their bill of materials from the commit that is checked out",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.log = cmd.OutOrStdout()
			var err error
			if b.platforms, err = parsePlatforms(platforms); err != nil {
				return err
			}
			return b.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&b.root, "root", ".", "the repository")
	flags.StringVar(&b.out, "out", "dist", "folder that all is written into")
	flags.StringVar(&b.repository, "repository", "", "repository of the image, with its registry, that manifests are to name")
	flags.StringVar(&b.base, "base", "", "image that the image is put on; default: that of the Dockerfile")
	flags.BoolVar(&b.withoutImage, "without-image", false, "leave the image out")
	flags.StringSliceVar(&platforms, "platforms", allPlatforms, "what to build for; the image is for those of Linux among them")
	return cmd
}

func showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show DIST version|image",
		Short: "Print which version was made, or what manifests are to call its image",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			made, err := readRelease(args[0])
			if err != nil {
				return err
			}
			shown, ok := map[string]string{"version": made.Version, "image": made.Image}[args[1]]
			if !ok {
				return fmt.Errorf("%q is neither version nor image", args[1])
			}
			fmt.Fprintln(cmd.OutOrStdout(), shown)
			return nil
		},
	}
}

func krewCommand() *cobra.Command {
	var downloads string
	cmd := &cobra.Command{
		Use:   "krew DIST",
		Short: "Write the plugin's manifest for krew, from the archives that are there",
		Args:  cobra.ExactArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return writeKrewManifest(args[0], downloads) },
	}
	cmd.Flags().StringVar(&downloads, "downloads", "https://github.com/queuebinding/queuebinding/releases/download", "URL below which a folder for each version has the archives")
	return cmd
}

func signCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sign DIST",
		Short: "Write the checksums of all files, and sign them with the key in " + keyVariable,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return sign(args[0], os.Getenv(keyVariable), os.Getenv(passwordVariable), cmd.OutOrStdout())
		},
	}
}

func pushCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "push DIST",
		Short: "Push the image to the registry that it is named after, as the caller is logged in there",
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return push(cmd.Context(), args[0], cmd.OutOrStdout()) },
	}
}

func pinCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pin DOCKERFILE",
		Short: "Write behind each image of a Dockerfile the digest that its registry has for it",
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return pin(cmd.Context(), args[0], cmd.OutOrStdout()) },
	}
}
