package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/stores"

	"github.com/spf13/cobra"
)

// gcOptions are the settings of `store gc`.
type gcOptions struct {
	desired.Where
	root, location string
	keep           int // 0: as fleet.cue says
	grace          schema.Duration
	dryRun         bool
}

// gcCommand is `bakehouse store gc`.
func gcCommand() *cobra.Command {
	o := gcOptions{grace: schema.Duration(maintain.DefaultGrace)}
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Delete what no published, candidate or kept release needs",
		Long: strings.TrimSpace(`
Deletes from the store old metadata and the packages (manifests, statements, segments) that nobody needs any more.
These keep what they name:

  - the newest release: for every host its package, and up to two older candidates that its ring may still wait for
  - the releases before it, as many as keep.releases in fleet.cue (default 10, the newest included): whole, so that a
    commit can be reverted to, and "bakehouse reproduce" finds and rebuilds what they published
  - what was published or written within --grace

Roots and source files (host programs, files fetched by URL) always stay. "Spared" is what no release needs and stays
for now: it is new, or a run that did not finish left it under a number that must not be used twice.

What is published is verified first, from trust/ in the repository or from --root; no key is needed. If it does not
verify, or anything that is kept cannot be read, nothing is deleted. It may run beside "bakehouse serve". While a
reconcile holds the store's lock, gc ends with an error. Interrupted at any point it leaves a sound store, and the next
run continues. A server deletes nothing for others: gc runs where the server's store is.

Exit codes: 0 done, 1 error, 3 the store does not verify.`),
		Example: `  bakehouse store gc --dry-run --store /srv/bakehouse/store
  bakehouse store gc --store /srv/bakehouse/store --root /etc/bakehouse/1.root.json --keep 30`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := collectGarbage(cmd.Context(), o)
			if err != nil {
				return err
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), report)
			}
			return tellGarbage(cmd.OutOrStdout(), report)
		},
	}
	flags.Repo(cmd, &o.Where)
	flags.Store(cmd, &o.location)
	f := cmd.Flags()
	f.StringVar(&o.root, "root", "", "the fleet's first root (its trust/1.root.json), where there is no repository")
	f.IntVar(&o.keep, "keep", 0, "how many releases to keep, the newest included (default keep.releases in fleet.cue, "+
		"or 10)")
	f.TextVar(&o.grace, "grace", o.grace, "leave what is newer than that, such as 24h or 7d")
	settings.Trust(f, "root", "grace", "keep") // keep and grace decide what is lost
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be deleted, and delete nothing")
	asJSON = flags.AddJSON(cmd)
	return cmd
}

func collectGarbage(ctx context.Context, o gcOptions) (*maintain.GCReport, error) {
	if stores.Served(o.location) {
		return nil, fault.Hint(errors.New("nothing is deleted through a server"),
			"run bakehouse store gc where the server's store is")
	}
	st, err := stores.OpenExisting(ctx, o.location)
	if err != nil {
		return nil, err
	}
	opts := maintain.GCOptions{Keep: o.keep, Grace: time.Duration(o.grace), DryRun: o.dryRun}
	if o.root != "" {
		if opts.Anchor, err = os.ReadFile(o.root); err != nil {
			return nil, fault.Hint(err, "--root names the fleet's first root, trust/1.root.json in its config repo")
		}
		if opts.Keep == 0 {
			opts.Keep = maintain.DefaultKeep
		}
		return maintain.GC(ctx, st, opts)
	}
	f, err := desired.Top(ctx, o.Where)
	if err != nil {
		return nil, err
	}
	if opts.Keep == 0 {
		opts.Keep = f.Keep.Releases
	}
	if _, err := publish.CheckRoots(ctx, st, f); err != nil {
		return nil, err
	}
	opts.Anchor = f.Roots[0]
	return maintain.GC(ctx, st, opts)
}

// tellGarbage prints the report for people.
func tellGarbage(w io.Writer, r *maintain.GCReport) error {
	var b strings.Builder
	freed := "freed"
	if r.DryRun {
		freed = "would free"
	}
	var kept, spared, gone maintain.Tally
	for _, k := range r.Kinds {
		kept, spared, gone = sum(kept, k.Kept), sum(spared, k.Spared), sum(gone, k.Freed)
	}
	cells := func(of ...maintain.Tally) (text string) {
		for _, tally := range of {
			text += fmt.Sprintf("%d\t%s\t", tally.Objects, console.Size(tally.Bytes))
		}
		return text
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	if spared.Objects > 0 {
		fmt.Fprintf(t, "\tkept\t\tspared\t\t%s\t\t\n", freed)
	} else {
		fmt.Fprintf(t, "\tkept\t\t%s\t\t\n", freed)
	}
	for _, k := range r.Kinds {
		if spared.Objects > 0 {
			fmt.Fprintf(t, "%s\t%s\n", k.Kind, cells(k.Kept, k.Spared, k.Freed))
		} else {
			fmt.Fprintf(t, "%s\t%s\n", k.Kind, cells(k.Kept, k.Freed))
		}
	}
	kept = sum(kept, spared)
	if err := t.Flush(); err != nil {
		return err
	}
	first, last := r.States[len(r.States)-1], r.States[0]
	releases := fmt.Sprintf("release %d", last.Release)
	if first.Release != last.Release {
		releases = fmt.Sprintf("releases %d to %d", first.Release, last.Release)
	}
	fmt.Fprintf(&b, "keeps %s (commits %.12s to %.12s) in %s, %s\n", releases, first.Commit, last.Commit,
		console.Count(kept.Objects, "object"), console.Size(kept.Bytes))
	fmt.Fprintf(&b, "%s %s, %s\n", freed, console.Count(gone.Objects, "object"), console.Size(gone.Bytes))
	_, err := io.WriteString(w, b.String())
	return err
}

func sum(a, b maintain.Tally) maintain.Tally {
	return maintain.Tally{Objects: a.Objects + b.Objects, Bytes: a.Bytes + b.Bytes}
}
