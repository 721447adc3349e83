package packages

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/accept"
	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
)

func listCommand() *cobra.Command {
	var o flags.State
	var location string
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the published packages, who signed them, and which hosts would refuse one",
		Long: strings.TrimSpace(`
Verifies the published release from the repository's roots, and lists each package with its hosts and the keys that
signed it. A host judges a package by the rules of the one that it runs: what is published now for it, or an older
candidate. A line "refused by" names hosts that would find too few signatures, and whose they would accept.`),
		Example: "  bakehouse package list\n  bakehouse package list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			listed, err := accept.List(cmd.Context(), o.Where, location, o.CacheDir, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), listed)
			}
			var b strings.Builder
			for _, l := range listed {
				b.WriteString(listedText(l))
			}
			_, err = io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
	}
	flags.Repo(cmd, &o.Where)
	flags.Store(cmd, &location)
	flags.Cache(cmd, &o.CacheDir)
	asJSON = flags.AddJSON(cmd)
	return cmd
}

// listedText is a published package for people.
func listedText(l *accept.Listed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s %s  %s  for %s\n  signed by %s\n", l.Package.Short(), l.Platform, l.Format,
		console.Size(l.Size), console.Hosts(l.Hosts),
		cmp.Or(strings.Join(l.SignedBy, ", "), "no key of the repository"))
	for _, id := range l.Unknown {
		fmt.Fprintf(&b, "  and key id %s, which is none of the repository's or did not make it\n", id)
	}
	for _, r := range l.Refused {
		which := "it runs " + r.Running.Short()
		if r.Running == l.Package {
			which = "once it runs this one"
		}
		fmt.Fprintf(&b, "  refused by %s if %s, which accepts %s: "+
			"sign it with such a key (bakehouse package sign --key NAME)\n",
			console.Hosts(r.Hosts), which, r.Accepts)
	}
	return b.String()
}
