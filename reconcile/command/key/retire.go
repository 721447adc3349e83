package key

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/accept"
	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
)

// keyRetire is `bakehouse key retire`.
func retireCommand() *cobra.Command {
	var r accept.Retirement
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "retire NAME",
		Short: "End the use of a key, unless that strands hosts",
		Long: strings.TrimSpace(`
Write into keys/NAME.cue that the key is retired. From the commit of that on it signs nothing, and new packages do not
accept it. What it has signed stays valid where it is accepted.

A host judges the next package by the rules of the one that it runs. Hosts that would have no acceptable signature
without the key are listed: by what is published for them, by the older candidates that they may still run (not with
--updated), and by the rules in the repo. Then nothing is written, unless --strand gives exactly their number.

A rule that names the key is an error, at its place: take the key out of it first. A retired key that signs metadata
(root, targets, snapshot, timestamp) needs a next root: bakehouse root next.`),
		Example: "  bakehouse key retire release-2026 --store /srv/bakehouse\n  bakehouse key retire stolen --store " +
			"/srv/bakehouse --strand 2",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Now = time.Now()
			done, err := r.Run(cmd.Context(), args[0])
			switch {
			case err != nil:
				return err
			case *asJSON:
				return console.WriteJSON(cmd.OutOrStdout(), done)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: key %s is retired (commit it, then reconcile)\n", done.File, done.Key)
			if len(done.Roles) > 0 {
				fmt.Fprintf(cmd.OutOrStdout(),
					"it may still sign %s until there is a root without it: bakehouse root next\n",
					strings.Join(done.Roles, ", "))
			}
			return nil
		},
	}
	flags.Worktree(cmd, &r.Repo)
	flags.Store(cmd, &r.Store)
	cmd.Flags().IntVar(&r.Strand, "strand", 0,
		"how many hosts this may leave without a valid signature: exactly as many as are listed")
	cmd.Flags().BoolVar(&r.Updated, "updated", false,
		"every host has installed what is published for it, so older packages do not count")
	asJSON = flags.AddJSON(cmd)
	return cmd
}
