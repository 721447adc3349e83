package root

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
)

func signCommand() *cobra.Command {
	var repo, name, private string
	c := &cobra.Command{
		Use:   "sign",
		Short: "Add a signature to the newest root",
		Long: `Add a signature to the newest root in trust/, with the keys at hand that it still needs, or with the one of
--key. Look at what you sign: bakehouse root show --diff.

Keys of the root before count, and keys of the new one. A key that is being removed signs like any other: its
private half is looked for under the name that it had. Two people can sign on two branches: git merges their
signatures.

A complete root gets no further signature, because packages and the store know a root by its bytes.`,
		Example: "  bakehouse root sign --key alice\n  bakehouse root sign --key 3f2a91bc --private old-alice.key",
		Args:    cobra.NoArgs,
	}
	flags.Worktree(c, &repo)
	with := flags.AddKeys(c)
	asJSON := flags.AddJSON(c)
	c.Flags().StringVar(&name, "key", "",
		"name of the key, or the start of its id (default every key at hand that is needed)")
	c.Flags().StringVar(&private, "private", "",
		"where the private half of a key is that keys/ no longer lists (default NAME.key in the key directory)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := openCeremony(cmd.Context(), repo, with, false)
		if err != nil {
			return err
		}
		added, made, err := c.Sign(name, private)
		if err != nil {
			return err
		}
		newest := made.Newest()
		if *asJSON {
			file := ""
			if len(added) > 0 {
				file = c.File(newest.Version)
			}
			return writeRoot(cmd.OutOrStdout(), file, made, added, nil)
		}
		switch {
		case len(added) > 0:
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: signed by %s (commit it)\n", c.File(newest.Version),
				strings.Join(added, ", "))
		case name != "":
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is signed by %s already\n", newest, name)
		}
		printLacking(cmd.ErrOrStderr(), made)
		return nil
	}
	return c
}
