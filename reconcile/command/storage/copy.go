package storage

import (
	"fmt"
	"strings"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/stores"

	"github.com/spf13/cobra"
)

// copyCommand is `bakehouse store copy`.
func copyCommand() *cobra.Command {
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy a store to another place",
		Long: strings.TrimSpace(`
Copy every object of the store FROM that the store TO does not have. FROM and TO are
` + stores.Form + `.

Segments, targets and source files are compared with the digest that they are stored under; an altered one ends the
copy. Timestamps come last and in order, so that TO is never torn: interrupted at any point, it has whole releases only,
and the next run continues. Nothing is deleted in TO. It may run beside "bakehouse serve" and reconcile; run it again
for what was published meanwhile.

Exit codes: 0 done, 1 error, 3 an object is altered, or the two are stores of different histories.`),
		Example: `  bakehouse store copy /srv/bakehouse/store "s3://fleet/store?region=eu-central-1"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			from, err := stores.OpenExisting(ctx, args[0])
			if err != nil {
				return err
			}
			to, err := stores.Open(ctx, args[1])
			if err != nil {
				return err
			}
			report, err := maintain.Copy(ctx, from, to)
			if err != nil {
				return err
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), report)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "timestamp %d: copied %s, %s; %s there already\n", report.Head,
				console.Count(report.Copied.Objects, "object"), console.Size(report.Copied.Bytes),
				console.Count(report.Present.Objects, "object"))
			return err
		},
	}
	asJSON = flags.AddJSON(cmd)
	return cmd
}
