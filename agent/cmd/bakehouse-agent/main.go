// Command bakehouse-agent is the program on a monitored host: it registers the host, asks the server at intervals, and
// verifies a package before it installs it. The work is in package agent; this joins its commands.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"bakehouse/schema"

	"github.com/spf13/cobra"
)

// version is set by -ldflags "-X main.version=…" when a host program is built for a fleet.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	c := &cobra.Command{
		Use:           "bakehouse-agent",
		Short:         "Keep this host's monitoring agent at what its fleet's repo says",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.AddCommand(&cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), version)
			return err
		},
	})
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bakehouse-agent: error: %v\n", err)
		if hint := schema.HintOf(err); hint != "" {
			fmt.Fprintf(os.Stderr, "bakehouse-agent: hint: %s\n", hint)
		}
	}
	return schema.ExitCode(err)
}
