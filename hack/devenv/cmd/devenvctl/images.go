package main

import (
	"github.com/spf13/cobra"

	"github.com/queuebinding/queuebinding/hack/devenv"
	"github.com/queuebinding/queuebinding/hack/devenv/image"
)

func packCommand() *cobra.Command {
	var name, out string
	var programs []string
	cmd := &cobra.Command{
		Use:   "pack",
		Short: "Pack static programs into an image, as an OCI archive, without a container engine",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			packed, err := image.Programs(name, programs...)
			if err != nil {
				return err
			}
			return image.WriteArchive(out, packed)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the image")
	cmd.Flags().StringSliceVar(&programs, "program", nil, "path of a program; of several, the first is the entrypoint")
	cmd.Flags().StringVar(&out, "out", "", "path of the archive")
	for _, flag := range []string{"name", "program", "out"} {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err) // the flag was added above
		}
	}
	return cmd
}

func loadCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "load ARCHIVE",
		Short: "Give the images in an OCI archive to the real node of a running environment",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return devenv.Load(cmd.Context(), f.dir, args[0])
		},
	}
}

func deployCommand(f *flags) *cobra.Command {
	overlay := devenv.OperatorOverlay
	cmd := &cobra.Command{
		Use:   "deploy ARCHIVE",
		Short: "Install the operator in a running environment, as Pods of its real node, with the image in an OCI archive",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return devenv.Deploy(cmd.Context(), f.layout, f.dir, overlay, args[0], cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&overlay, "overlay", overlay, "kustomization to apply, below the repository's root")
	return cmd
}
