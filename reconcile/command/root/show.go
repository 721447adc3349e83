package root

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/roots"
)

func showCommand() *cobra.Command {
	var repo string
	var diff bool
	c := &cobra.Command{
		Use:     "show [N]",
		Short:   "Show the roots in trust/, or root N: who may sign what",
		Example: "  bakehouse root show\n  bakehouse root show --diff 2    # what root 2 changes",
		Args:    cobra.MaximumNArgs(1),
	}
	flags.Worktree(c, &repo)
	asJSON := flags.AddJSON(c)
	c.Flags().BoolVar(&diff, "diff", false, "show what each root changes of the one before")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		f, chain, asked, err := openRoots(cmd.Context(), repo, args)
		if err != nil {
			return err
		}
		if err := chain.Refusal(); err != nil {
			return err
		}
		infos := []roots.Info{}
		for _, r := range asked {
			infos = append(infos, chain.Info(r, f))
		}
		if *asJSON {
			return console.WriteJSON(cmd.OutOrStdout(), infos)
		}
		for i, info := range infos {
			if i > 0 {
				fmt.Fprintln(cmd.OutOrStdout())
			}
			if diff {
				err = printDiff(cmd.OutOrStdout(), info.Changes)
			} else {
				err = printRoot(cmd.OutOrStdout(), info)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func printRoot(out io.Writer, r roots.Info) error {
	w := console.NewTable(out)
	what := ""
	if r.Anchor {
		what += " (anchor)"
	}
	if !r.Complete {
		what += " (lacks signatures)"
	}
	fmt.Fprintf(w, "root %d%s\n", r.Version, what)
	fmt.Fprintf(w, "fleet\t%s\nbins\t%d\nexpires\t%s\ndigest\t%s\n",
		r.Fleet, r.Bins, r.Expires.Format(time.RFC3339), r.Digest)
	for _, role := range r.Roles {
		fmt.Fprintf(w, "%s\t%d of %s\n", role.Role, role.Threshold, strings.Join(role.Keys, ", "))
	}
	return w.Flush()
}

// printDiff prints a line per role, with + and - before keys.
func printDiff(out io.Writer, d *roots.Diff) error {
	w := console.NewTable(out)
	if d.From > 0 {
		fmt.Fprintf(w, "root %d after root %d\n", d.To, d.From)
	} else {
		fmt.Fprintf(w, "root %d, the first\n", d.To)
	}
	for _, r := range d.Roles {
		var parts []string
		for _, name := range r.Added {
			parts = append(parts, "+ "+name)
		}
		for _, name := range r.Removed {
			parts = append(parts, "- "+name)
		}
		parts = append(parts, r.Kept...)
		threshold := fmt.Sprintf("%d of %d", r.Is, len(r.Added)+len(r.Kept))
		if r.Was != r.Is && r.Was > 0 {
			threshold = fmt.Sprintf("%s (was %d of %d)", threshold, r.Was, len(r.Removed)+len(r.Kept))
		}
		mark := " "
		if r.Changed() {
			mark = "*"
		}
		fmt.Fprintf(w, "%s %s\t%s\t%s\n", mark, r.Role, threshold, strings.Join(parts, ", "))
	}
	expires := d.Expires.UTC().Format(time.DateOnly)
	if d.From > 0 {
		fmt.Fprintf(w, "  expires\t%s\twas %s\n", expires, d.Expired.UTC().Format(time.DateOnly))
	} else {
		fmt.Fprintf(w, "  expires\t%s\n", expires)
	}
	return w.Flush()
}
