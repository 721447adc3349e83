package packages

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile"
	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/schema/fault"
)

func signCommand(version string) *cobra.Command {
	o := reconcile.Options{Version: version}
	var names []string
	var asJSON *bool
	var signing *flags.Keys
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Sign what is published with further keys",
		Long: strings.TrimSpace(`
Judges what is published, as "bakehouse monitor" does, and signs with the keys of --key every package that a host may be
given now, older candidates included. Nothing is signed unless the release follows from commits that --ref descends
from: not its packages alone, but also rings, selection, revocations, sites and access. What was judged before is
remembered in --cache-dir. Older candidates from before the releases that the store keeps cannot be judged, and are left
as they are. Nothing is published, and signatures are only ever added.

With --allowed-signers or --keyring, commits are verified first, as "bakehouse reconcile --help" describes.`),
		Example: "  bakehouse package sign --store /srv/bakehouse --key release-2",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(names) == 0 {
				return fault.Hint(errors.New("no key to sign with"), "set one: bakehouse package sign --key NAME")
			}
			if err := flags.Complete(&o, signing); err != nil {
				return err
			}
			done, err := reconcile.Sign(cmd.Context(), o, names, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), done)
			}
			for _, e := range done.Left {
				console.Warn(cmd.ErrOrStderr(), "not signed: %s", e)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(),
				"signed %s of release %d for %s with %s: it follows from commit %.12s\n",
				console.Count(len(done.Packages), "package"), done.Release, console.Count(done.Hosts, "host"),
				strings.Join(done.SignedBy, ", "), done.Commit)
			return err
		},
	}
	signing = flags.Pass(cmd, &o)
	flags.Programs(cmd, &o.Programs)
	flags.Jobs(cmd, &o.Jobs)
	cmd.Flags().StringSliceVar(&names, "key", nil, "name of a key to sign with; can be repeated")
	asJSON = flags.AddJSON(cmd)
	return cmd
}
