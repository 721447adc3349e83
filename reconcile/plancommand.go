package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/roots"
	"bakehouse/reconcile/source"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"

	"github.com/spf13/cobra"
)

// planner is one `plan`: what to look at, and what it finds.
type planner struct {
	stateFlags
	base, against, out string
	version            string

	git    *source.Repo
	cache  *cache.Cache
	head   *desired.State
	before *desired.State // nil: nothing before, or not known
	store  store.Store
	found  *comparison // nil: no store
}

// PlanCommand is `bakehouse plan`; version is this program's.
func PlanCommand(version string) *cobra.Command {
	p := planner{version: version}
	var format string
	var asJSON, detailed, summary bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a commit changes: which hosts, which files, what acts as root, and which line is to blame",
		Long: `Compares a commit with another state and prints what reconcile would change: the hosts whose package becomes another,
grouped by equal change, with the differences of the files in it and the rule or file that causes them; hosts added and
removed; other attributes. What acts as root on a host comes first and is marked: scripts, services, executables, and
files that programs of root obey. It needs no keys, bakes nothing, and never writes to the store.

It compares with the commit's first parent, which for the merge commit of a pull request is the branch it goes to; with
--base REF as that commit is; with --against STORE with what is published there, verified from the repository's trust/,
where the content of packages comes from the commit of that release if the clone has it.

It refuses to remove more hosts than limits.removed in fleet.cue (default 50), as reconcile does, unless a commit message
since the base accounts for them: "Bakehouse-Remove: hosts/web 120".

Exit codes: 0 done, 1 error; with --detailed-exitcode 0 no changes, 1 error, 2 changes; 3 something did not verify.`,
		Example: `  bakehouse plan
  bakehouse plan --base origin/main --format markdown > comment.md
  bakehouse plan --against /srv/bakehouse/store --out plan.json && bakehouse reconcile --plan plan.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				format = "json"
			}
			write, ok := planFormats[format]
			if !ok {
				return fault.Hint(fmt.Errorf("no such format %.20q", format), "formats are text, json and markdown")
			}
			if summary && format != "text" {
				return fault.Hint(fmt.Errorf("--summary shortens the text, and --format is %s", format), "leave one of them out")
			}
			if summary {
				write = (*plan.Report).SummaryText
			}
			r, refusal, err := p.plan(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := write(r, cmd.OutOrStdout()); err != nil || refusal != nil {
				return errors.Join(err, refusal)
			}
			if p.out != "" {
				if err := savePlan(cmd.Context(), p.out, r, p.head.Revision, p.version, p.store, p.found.release); err != nil {
					return err
				}
			}
			if detailed && !r.Empty() {
				return fault.ErrChanges
			}
			return nil
		},
	}
	p.stateFlags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&p.base, "base", "", "commit, branch or tag to compare with (default the first parent; with --against the published commit)")
	f.StringVar(&p.against, "against", "", "store whose published release to compare with: a folder")
	f.StringVar(&p.out, "out", "", "file to write the plan to, for `reconcile --plan`; needs --against")
	f.StringVar(&format, "format", "text", "text, json or markdown (a comment for a pull request)")
	f.BoolVar(&asJSON, "json", false, "print JSON, errors too")
	f.BoolVar(&summary, "summary", false, "print hosts, reasons and items, without the differences in files")
	f.BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 if something changes")
	cmd.MarkFlagsMutuallyExclusive("json", "format")
	cmd.MarkFlagsMutuallyExclusive("json", "summary")
	return cmd
}

var planFormats = map[string]func(*plan.Report, io.Writer) error{
	"text":     (*plan.Report).Text,
	"markdown": (*plan.Report).Markdown,
	"json":     func(r *plan.Report, w io.Writer) error { return console.WriteJSON(w, r) },
}

// plan makes the report. refusal is why reconcile would not do it.
func (p *planner) plan(ctx context.Context, log io.Writer) (r *plan.Report, refusal, err error) {
	switch {
	case p.out != "" && p.against == "":
		return nil, nil, fault.Hint(errors.New("--out needs --against: a saved plan is bound to the state of a store"), "name the store with --against")
	case p.out != "" && p.Worktree:
		return nil, nil, fault.Hint(errors.New("--out needs a commit: a saved plan is bound to its tree"), "commit the files, and leave --worktree out")
	}
	if p.git, err = source.Open(p.Repo); err != nil {
		return nil, nil, err
	}
	p.cache = desired.OpenCache(p.cacheDir, log)
	if p.head, err = desired.Pin(p.Where, p.cache); err != nil {
		return nil, nil, err
	}
	if err := p.head.NoteDirty(log); err != nil {
		return nil, nil, err
	}
	if err := p.head.Evaluate(ctx); err != nil {
		return nil, nil, err
	}
	p.head.Warn(log, time.Now())
	for _, m := range p.head.Resolved.Missing {
		fmt.Fprintf(log, "bakehouse: warning: reconcile will refuse: %v\n", m)
	}
	var before plan.Side
	if p.against != "" {
		before, err = p.publishedSide(ctx)
	} else {
		before, err = p.baseSide(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	diff := plan.Diff(before.Hosts, p.head.Hosts)
	r = plan.Build(before, side(p.head), diff)
	if p.found != nil {
		for _, a := range p.found.release.Aging() {
			r.Notes = append(r.Notes, a.String())
		}
	}
	if diff.Count(plan.Removed) > p.head.Fleet.Limits.Removed {
		if refusal = checkRemovals(p.git, diff, p.before, p.head); refusal != nil {
			r.Refused = refusal.Error()
			if hint := fault.HintOf(refusal); hint != "" {
				r.Refused += "; " + hint
			}
		}
	}
	return r, refusal, nil
}

// side is s as one side of a plan.
func side(s *desired.State) plan.Side {
	hosts := make(map[string]plan.Published, len(s.Hosts))
	for name, d := range s.Hosts {
		hosts[name] = plan.Published{Desired: d}
	}
	side := plan.Side{Endpoint: plan.Endpoint{Name: s.Name}, Hosts: hosts, Policy: s.Policy(), Access: s.Fleet.Access,
		Roots: len(s.Fleet.Roots), Trust: roots.Trust(s.Fleet, len(s.Fleet.Roots)), Resolved: s.Resolved, Files: s.Files}
	if s.Revision != nil {
		side.Commit, side.Tree = s.Revision.Commit, s.Revision.Tree
	}
	return side
}

// baseSide is the commit to compare with.
func (p *planner) baseSide(ctx context.Context) (plan.Side, error) {
	rev, err := p.baseRevision()
	nothing := plan.Side{Endpoint: plan.Endpoint{Name: "nothing"}}
	if err != nil || rev == nil {
		return nothing, err
	}
	if _, err := fs.Stat(rev.FS, "fleet.cue"); errors.Is(err, fs.ErrNotExist) {
		nothing.Name = fmt.Sprintf("commit %.12s, which has no fleet", rev.Commit)
		return nothing, nil
	}
	before := desired.AtRevision(p.git, rev, p.cache)
	if err := before.Evaluate(ctx); err != nil {
		return nothing, fault.Hint(fmt.Errorf("the base, %s, has errors:\n%w", before.Name, err), "compare with another commit: --base REF")
	}
	p.before = before
	return side(before), nil
}

func (p *planner) baseRevision() (*source.Revision, error) {
	switch {
	case p.base != "":
		rev, err := p.git.Revision(p.base)
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("--base: %w", err), "name a commit, branch or tag that this clone has")
		}
		return rev, nil
	case p.Worktree:
		return p.git.Revision("HEAD")
	}
	return p.git.Parent(p.head.Revision)
}

// publishedSide is the store's release, with the content of packages from the commit that it was made from.
func (p *planner) publishedSide(ctx context.Context) (side plan.Side, err error) {
	if p.store, err = store.OpenExisting(ctx, p.against); err != nil {
		return side, err
	}
	if p.found, err = compare(ctx, p.head, p.store, time.Now(), publish.Recovery{}); err != nil {
		return side, err
	}
	release := p.found.release
	if p.base != "" {
		if _, err = p.baseSide(ctx); err != nil {
			return side, err
		}
	} else if p.before, err = desired.Earlier(ctx, p.git, releasedCommit(release), p.cache); err != nil {
		return side, err
	}
	side = plan.Side{Endpoint: plan.Endpoint{Name: "an empty store"}, Hosts: p.found.was, Roots: release.Roots(), Trust: roots.Trust(p.head.Fleet, release.Roots())}
	if p.before != nil {
		side.Resolved, side.Files = p.before.Resolved, p.before.Files
	}
	if policy, access := release.Policy(), release.Access(); policy != nil {
		side.Policy = *policy
		if access != nil {
			side.Access = *access
		}
	}
	if r := release.Release(); r != nil {
		side.Endpoint = plan.Endpoint{Name: fmt.Sprintf("release %d (commit %.12s)", release.Number(), r.Commit), Commit: r.Commit, Tree: r.Tree,
			Release: release.Number(), Head: release.Head()}
	}
	return side, nil
}
