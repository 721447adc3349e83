package root

import (
	"fmt"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
)

func nextCommand() *cobra.Command {
	var repo string
	var renew, discard bool
	c := &cobra.Command{
		Use:   "next",
		Short: "Make the root that follows from keys/, to be signed",
		Long: `Make the root that follows from the uses and thresholds in keys/, and show what it changes. It takes no key:
nobody has signed it yet. Fleet and bins stay, the expiry is new. It is in force once enough keys of the root before
and of its own have signed it (bakehouse root sign) and reconcile has published it.

While it lacks signatures it can be made again, after another change to keys/.`,
		Example: "  bakehouse key create carol --use root\n  bakehouse root next\n  bakehouse root sign --key alice",
		Args:    cobra.NoArgs,
	}
	flags.Worktree(c, &repo)
	asJSON := flags.AddJSON(c)
	c.Flags().BoolVar(&renew, "renew", false, "make it even if only the expiry changes")
	c.Flags().BoolVar(&discard, "discard-signatures", false,
		"replace a root that lacks signatures, and lose those that it has")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := openCeremony(cmd.Context(), repo, nil, false)
		if err != nil {
			return err
		}
		diff, made, err := c.Next(renew, discard)
		if err != nil {
			return err
		}
		if *asJSON {
			file := ""
			if diff != nil {
				file = c.File(made.Newest().Version)
			}
			return writeRoot(cmd.OutOrStdout(), file, made, nil, diff)
		}
		if diff == nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s says what keys/ say already\n", made.Newest())
		} else {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: to be signed\n", c.File(made.Newest().Version))
			if err := printDiff(cmd.OutOrStdout(), diff); err != nil {
				return err
			}
		}
		printLacking(cmd.ErrOrStderr(), made)
		return nil
	}
	return c
}
