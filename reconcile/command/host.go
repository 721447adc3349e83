package command

import (
	"github.com/spf13/cobra"
)

// HostCommand is `bakehouse host`.
func HostCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "host",
		Short: "Hosts of the fleet",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(hostAdd())
	return c
}
