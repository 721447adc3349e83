package ask

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"bakehouse/schema/plain"
	"bakehouse/serve/desk"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
)

// Rollout is `bakehouse rollout`.
func Rollout() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollout",
		Short: "Print how far releases have come, and pause, resume, halt or promote them",
		Long: `Print how far releases have come, and pause, resume, halt or promote them.

The rings of rollout.cue get a release one after the other: each when its signed delay is over and its gate, if it has
one, has seen enough hosts of the rings before it up to date. Servers hold back the hosts of rings that are not open,
and all hosts from a release that is halted. They act at once on what these commands say, for all servers of one
database; no command lets a host install what is not signed for it, nor before its signed delay is over.`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(rolloutStatus(),
		rolloutVerb(keeper.Pause, "", "Have hosts install nothing new, whichever release",
			`Have hosts install nothing new, whichever release, until bakehouse rollout resume. What runs on them
stays, and runs on.`),
		rolloutVerb(keeper.Resume, "", "End a pause, and let a halted release go on",
			`End a pause, and let a halted release go on. The hosts that have failed with the release by now do
not halt it again; further ones do, by the same limits.`),
		rolloutVerb(keeper.Halt, "", "Halt a release: no further host gets it",
			`Halt a release: no further host gets it, until bakehouse rollout resume. Hosts that run it keep it; to
take it back, revert its commit and reconcile. A new release is not halted.`),
		rolloutVerb(keeper.Promote, "RING", "Open the gate of a ring at once, and those before it",
			`Open the gate of a ring for a release at once, and those of the rings before it, whatever they have seen. A
signed delay stays: if one is not over, the change to rollout.cue is printed that ends it.`))
	return c
}

func rolloutStatus() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "status",
		Short: "Print how far releases have come, ring by ring",
		Long: `Print how far releases have come, ring by ring: the newest one, and each older one that hosts are still
given and not all of its rings have. A user needs the permission view or rollout.

The database alone has what servers stored last: of releases that no gate, limit or command is about, nothing.
` + about,
		Example: `  bakehouse rollout status --server https://bakehouse.example:8443 --user ops
  bakehouse rollout status --database /var/lib/bakehouse-server/inventory.db --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.ask(c, func(ctx context.Context, a asked) error {
				r, err := a.rollouts(ctx)
				switch {
				case err != nil:
					return err
				case t.json:
					return writeJSON(c.OutOrStdout(), r)
				}
				return writeRollouts(c.OutOrStdout(), r)
			})
		},
	}
	t.flags(c)
	return c
}

func rolloutVerb(verb, args, short, long string) *cobra.Command {
	var t target
	do := keeper.Command{Verb: verb}
	c := &cobra.Command{
		Use:   strings.TrimSpace(verb + " " + args),
		Short: short,
		Long:  long + "\n\nA user needs the permission rollout for each host that it concerns.\n" + about,
		Args:  cobra.ExactArgs(len(strings.Fields(args))),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				do.Ring = args[0]
			}
			return t.ask(c, func(ctx context.Context, a asked) error {
				r, err := a.actOnRollout(ctx, do)
				switch {
				case err != nil:
					return err
				case t.json:
					return writeJSON(c.OutOrStdout(), r)
				}
				return writeResult(c.OutOrStdout(), r)
			})
		},
	}
	c.Flags().StringVar(&do.Reason, "reason", "", "`TEXT` for the audit log, and for whoever looks at a host")
	if verb != keeper.Pause {
		c.Flags().Int64Var(&do.Release, "release", 0, "`NUMBER` of the release (default: the newest)")
	}
	t.flags(c)
	return c
}

func writeResult(w io.Writer, r *keeper.Result) error {
	var b strings.Builder
	for _, done := range r.Done {
		fmt.Fprintln(&b, plain.Line(done, plain.MaxError))
	}
	for _, d := range r.Delayed {
		name := plain.Line(d.Name, 80)
		fmt.Fprintf(&b, "ring %s waits for its signed delay until %s; to end it now, change rollout.cue and "+
			"reconcile:\n\t{name: %q, delay: \"0s\"}\n", name, stamp(d.NotBefore), name)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRollouts prints the newest release and the older ones that are under way.
func writeRollouts(w io.Writer, r *desk.Rollouts) error {
	if p := r.Paused; p != nil {
		fmt.Fprintf(w, "the rollout is paused %s; it goes on by bakehouse rollout resume\n",
			plain.Line(p.String(), 400))
	}
	if len(r.Releases) == 0 {
		fmt.Fprintln(w, "there is no verdict on any release")
	}
	for i, v := range r.Releases {
		if !matters(r.Releases, i) {
			continue
		}
		what := "under way"
		if v.Done() {
			what = "done"
		}
		if v.Halt != nil {
			what = "halted since " + stamp(v.Halt.Since) + ": " + plain.Line(v.Halt.Text, 400)
		}
		fmt.Fprintf(w, "release %d, published %s: %s\n", v.Release, stamp(v.Began), what)
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "RING\tSTATE\tHOSTS\tUP TO DATE\tFAILED\tREJECTED\tWHY")
		for _, g := range v.Rings {
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", plain.Line(g.Name, 80), plain.Line(g.State, 20),
				g.Hosts.Hosts, g.Hosts.Healthy, g.Hosts.Failed, g.Hosts.Rejected, why(v, g))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// matters reports whether hosts may still get a release: it is the newest, or there is a ring for which each newer one
// is delayed. What is halted matters too.
func matters(releases []*rollout.Verdict, i int) bool {
	v := releases[i]
	if i == 0 || v.Halt != nil {
		return true
	}
	return slices.ContainsFunc(v.Rings, func(r rollout.Ring) bool {
		return r.State != rollout.Done && !slices.ContainsFunc(releases[:i], func(newer *rollout.Verdict) bool {
			own := newer.Ring(r.Name)
			return own == nil || !v.At.Before(own.NotBefore)
		})
	})
}

func why(v *rollout.Verdict, g rollout.Ring) string {
	switch {
	case g.State == rollout.Waiting && g.Why != "":
		return "waits for " + plain.Line(g.Why, 400)
	case v.Halt != nil && g.Why != "":
		return plain.Line(g.Why, 400)
	case g.Gate != nil:
		return plain.Line(g.Gate.Text, 400)
	}
	return ""
}
