package root

import (
	"fmt"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
)

func initCommand() *cobra.Command {
	var repo string
	var bins int
	var anew bool
	c := &cobra.Command{
		Use:   "init",
		Short: "Make trust/1.root.json from the uses and thresholds in keys/",
		Long: `Make trust/1.root.json from the uses and thresholds in keys/, and sign it with the keys at hand that have
the use root. If thresholds.root is above the number of those, the others add their signatures: bakehouse root sign.
Nothing is published before the root is complete.

The number of bins is fixed for the fleet's life. A host reads one bin: about a hundred hosts per bin is right, so
64 are good for ten thousand hosts.`,
		Args: cobra.NoArgs,
	}
	flags.Worktree(c, &repo)
	with := flags.AddKeys(c)
	asJSON := flags.AddJSON(c)
	c.Flags().IntVar(&bins, "bins", 64, "number of hashed bins, a power of two")
	c.Flags().BoolVar(&anew, "anew", false, "make another first root than the repository had: hosts that are "+
		"installed accept nothing by it, and have to be installed again")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := openCeremony(cmd.Context(), repo, with, anew)
		if err != nil {
			return err
		}
		made, err := c.Init(bins)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeRoot(cmd.OutOrStdout(), c.File(1), made, nil, nil)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: the root of trust of fleet %s (commit it)\n", c.File(1), c.Fleet.Name)
		printLacking(cmd.ErrOrStderr(), made)
		fmt.Fprintln(cmd.OutOrStdout(), made.Newest().Digest())
		return nil
	}
	return c
}
