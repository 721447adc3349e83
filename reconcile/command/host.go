package command

import (
	"github.com/spf13/cobra"
)

// hostCommand is `bakehouse host`.
func hostCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "host",
		Short: "Hosts of the fleet",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(hostAdd())
	return c
}
