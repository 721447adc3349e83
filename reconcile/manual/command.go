package manual

import (
	"fmt"

	"bakehouse/reconcile/console"

	"github.com/spf13/cobra"
)

// Command is `bakehouse man`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands",
		Long: `Write a manual page for every command to DIR, which is made if it does not exist.

A user's own pages are found in ~/.local/share/man/man1; for a look at one: man DIR/bakehouse-reconcile.1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := Write(args[0], cmd.Root())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s to %s\n", console.Count(len(names), "page"), args[0])
			return err
		},
	}
}
