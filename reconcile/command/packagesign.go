package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile"
	"bakehouse/reconcile/console"
	"bakehouse/schema/fault"
)

func packageSignCommand() *cobra.Command {
	var o reconcile.Options
	var names []string
	var asJSON *bool
	var signing *KeyFlags
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Sign what is published with further keys",
		Long: strings.TrimSpace(`
Bakes again what is published, from the commit that the release names, compares it, and signs it with the keys of
--key. Nothing is published, and nothing is signed unless every package is what that commit yields. Signatures are only
ever added.

With --allowed-signers or --keyring, commits are verified first, as "bakehouse reconcile --help" describes.`),
		Example: "  bakehouse package sign --store /srv/bakehouse --key release-2",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(names) == 0 {
				return fault.Hint(errors.New("no key to sign with"), "set one: bakehouse package sign --key NAME")
			}
			if err := complete(&o, signing); err != nil {
				return err
			}
			done, err := reconcile.Sign(cmd.Context(), o, names, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), done)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "signed %s of release %d for %s with %s: each is what commit %.12s yields\n",
				console.Count(len(done.Packages), "package"), done.Release, console.Count(done.Hosts, "host"),
				strings.Join(done.SignedBy, ", "), done.Commit)
			return err
		},
	}
	signing = passFlags(cmd, &o)
	programFlags(cmd, &o.Programs)
	jobsFlag(cmd, &o.Jobs)
	cmd.Flags().StringSliceVar(&names, "key", nil, "name of a key to sign with; can be repeated")
	asJSON = addJSON(cmd)
	return cmd
}
