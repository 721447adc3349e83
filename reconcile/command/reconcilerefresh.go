package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile"
	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
)

func reconcileRefreshCommand() *cobra.Command {
	var o reconcile.Options
	var asJSON *bool
	var signing *flags.Keys
	cmd := &cobra.Command{
		Use:   "refresh",
		Short: "Renew timestamp and snapshot with their keys alone",
		Long: strings.TrimSpace(`
Renews the timestamp, and the snapshot when it is due. It evaluates, bakes and changes nothing, and needs no other keys:
for a daily schedule that holds the keys for timestamp and snapshot only.`),
		Example: "  bakehouse reconcile refresh --store /srv/bakehouse",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.Complete(&o, signing); err != nil {
				return err
			}
			out, err := reconcile.Refresh(cmd.Context(), o, cmd.ErrOrStderr())
			switch {
			case err != nil:
				return err
			case *asJSON:
				return console.WriteJSON(cmd.OutOrStdout(), out)
			}
			return printRefreshed(cmd.OutOrStdout(), out)
		},
	}
	signing = flags.Pass(cmd, &o)
	asJSON = flags.AddJSON(cmd)
	return cmd
}

func printRefreshed(w io.Writer, r *reconcile.Refreshed) error {
	if r.Verified != nil {
		if _, err := fmt.Fprintln(w, r.Verified.Summary()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "renewed %s: release %d is at timestamp %d\n",
		strings.Join(r.Renewed, " and "), r.Release, r.Timestamp)
	return err
}
