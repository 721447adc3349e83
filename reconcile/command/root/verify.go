package root

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/roots"
)

func verifyCommand() *cobra.Command {
	var repo string
	c := &cobra.Command{
		Use:   "verify [N]",
		Short: "Show who has signed the roots in trust/, or root N, and whether that is enough",
		Long: `Show who has signed each root in trust/, or root N, by the keys of the root before and by its own, and
whether that is enough. Exit codes: 0 all complete, 1 signatures are lacking, 3 something does not verify.`,
		Args: cobra.MaximumNArgs(1),
	}
	flags.Worktree(c, &repo)
	asJSON := flags.AddJSON(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		_, chain, asked, err := openRoots(cmd.Context(), repo, args)
		if err != nil {
			return err
		}
		all := []roots.SigningStatus{}
		for _, r := range asked {
			all = append(all, chain.Status(r))
		}
		if *asJSON {
			err = console.WriteJSON(cmd.OutOrStdout(), all)
		} else {
			err = printSigningStatus(cmd.OutOrStdout(), all)
		}
		if err != nil {
			return err
		}
		// What is asked about is worth no more than what it rests on.
		return chain.Verify(asked[len(asked)-1].Version)
	}
	return c
}

func printSigningStatus(out io.Writer, all []roots.SigningStatus) error {
	w := console.NewTable(out)
	for _, s := range all {
		state := "complete"
		switch {
		case s.Problem != "":
			state = "does not verify: " + s.Problem
		case !s.Complete:
			state = "lacks signatures"
		}
		fmt.Fprintf(w, "root %d: %s\n", s.Version, state)
		for _, q := range s.By {
			fmt.Fprintf(w, "  %s\t%d of %d", q.Keys(), len(q.Signed), q.Threshold)
			if len(q.Signed) > 0 {
				fmt.Fprintf(w, "\tsigned: %s", strings.Join(q.Signed, ", "))
			}
			if !q.Met() {
				fmt.Fprintf(w, "\tstill to sign: %s", strings.Join(q.Lacking, ", "))
			}
			fmt.Fprintln(w)
		}
	}
	return w.Flush()
}
