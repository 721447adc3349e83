// Package root has the verbs of `bakehouse root`.
package root

import (
	"github.com/spf13/cobra"
)

// Command is `bakehouse root`.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "Make, sign, verify and show the root of trust",
		Long: `Make, sign, verify and show the root of trust.

The root says which keys may sign which role, and how many have to. It is in trust/N.root.json in the fleet repo, so
that changing it is a reviewed change: edit keys/, make the next root, have it signed, merge. Hosts walk from the
root in their package to the newest by themselves; each is signed by the keys of the one before and by its own.`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(initCommand(), nextCommand(), signCommand(), verifyCommand(), showCommand())
	return c
}
