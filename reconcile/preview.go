package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"bakehouse/reconcile/accept"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/roots"
	"bakehouse/reconcile/source"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// Preview is one plan: what to look at, and what is found.
type Preview struct {
	desired.Where
	CacheDir string
	Base     string // commit to compare with; empty: the first parent, or the published commit
	Against  string // store to compare with; empty: none
	Out      string // file for the saved plan; empty: none
	Version  string // of this program
	Commits  source.CommitCheck

	git    *source.Repo
	cache  *cache.Cache
	head   *desired.State
	before *desired.State // nil: nothing before, or not known
	store  store.Store
	found  *Comparison // nil: no store
}

// Save writes the plan that Report made to p.Out, for a pass that does exactly that.
func (p *Preview) Save(ctx context.Context, r *plan.Report) error {
	return savePlan(ctx, p.Out, r, p.head.Revision, p.Version, p.store, p.found.Release)
}

// Report compares. refusal is why reconcile would not do it.
func (p *Preview) Report(ctx context.Context, log io.Writer) (r *plan.Report, refusal, err error) {
	switch {
	case p.Out != "" && p.Against == "":
		return nil, nil, fault.Hint(errors.New("--out needs --against: a saved plan is bound to the state of a store"),
			"name the store with --against")
	case p.Out != "" && p.Worktree:
		return nil, nil, fault.Hint(errors.New("--out needs a commit: a saved plan is bound to its tree"),
			"commit the files, and leave --worktree out")
	}
	if p.git, err = source.Open(p.Repo); err != nil {
		return nil, nil, err
	}
	if p.cache, err = desired.OpenCache(p.Repo, p.CacheDir, log); err != nil {
		return nil, nil, err
	}
	if p.head, err = desired.Pin(p.Where, p.cache); err != nil {
		return nil, nil, err
	}
	p.head.NoteDirty(log)
	if err := p.head.Evaluate(ctx); err != nil {
		return nil, nil, err
	}
	p.head.Warn(log, time.Now())
	for _, m := range p.head.Resolved.Missing {
		console.Warn(log, "reconcile will refuse: %v", m)
	}
	var before plan.Side
	if p.Against != "" {
		before, err = p.publishedSide(ctx)
	} else {
		before, err = p.baseSide(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	after, diff := side(p.head), plan.Diff(before.Hosts, p.head.Hosts)
	r = plan.Build(before, after, diff)
	if p.found != nil {
		for _, a := range p.found.Release.Aging() {
			r.Notes = append(r.Notes, a.String())
		}
	}
	stranded, err := p.stranded(ctx)
	if err != nil {
		return nil, nil, err
	}
	r.Strand(stranded)
	var refusals []error
	if diff.Count(plan.Removed) > p.head.Fleet.Limits.Removable(diff.Published()) {
		refusals = append(refusals, checkRemovals(p.git, diff, p.before, p.head))
	}
	refusals = append(refusals, plan.TurnedBetween(before, after, diff))
	unsigned, err := p.unsigned(before.Commit)
	if err != nil {
		return nil, nil, err
	}
	for _, err := range append(refusals, unsigned) {
		if err == nil {
			continue
		}
		text := err.Error()
		if hint := fault.HintOf(err); hint != "" {
			text += "; " + hint
		}
		text = strings.ReplaceAll(text, "\n", "; ")
		r.Refused, refusal = strings.TrimPrefix(r.Refused+"; "+text, "; "), errors.Join(refusal, err)
	}
	return r, refusal, nil
}

// stranded lists the hosts that would not accept the next package.
func (p *Preview) stranded(ctx context.Context) ([]plan.Stranded, error) {
	if p.found == nil {
		return accept.Since(p.before, p.head, time.Now())
	}
	before, err := p.before, error(nil)
	if p.Base != "" {
		before, err = desired.Earlier(ctx, p.git, p.found.Release.Commit(), p.cache)
	}
	if err != nil {
		return nil, err
	}
	return accept.Beside(ctx, p.store, p.found.Release, before, p.head, time.Now())
}

// unsigned is why the commits since base do not verify, nil if they do or need not.
func (p *Preview) unsigned(base string) (refusal, err error) {
	if p.Worktree {
		return nil, nil
	}
	v, err := p.Commits.Open(p.git, p.head.Commit(), time.Now())
	if v != nil && err == nil {
		_, err = v.Since(base)
	}
	if fault.IsRefusal(err) {
		return err, nil
	}
	return nil, err
}

// side is s as one side of a plan.
func side(s *desired.State) plan.Side {
	hosts := make(map[string]plan.Published, len(s.Hosts))
	for name, d := range s.Hosts {
		hosts[name] = plan.Published{Desired: d}
	}
	side := plan.Side{Endpoint: plan.Endpoint{Name: s.Name}, Hosts: hosts, Policy: s.Policy(),
		Roots: len(s.Fleet.Roots), Trust: roots.Trust(s.Fleet, len(s.Fleet.Roots)), Resolved: s.Resolved, Files: s.Files}
	if access := s.Access(); access != nil {
		side.Access = *access
	}
	if s.Revision != nil {
		side.Commit, side.Tree = s.Revision.Commit, s.Revision.Tree
	}
	return side
}

// baseSide is the commit to compare with.
func (p *Preview) baseSide(ctx context.Context) (plan.Side, error) {
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
		return nothing, fault.Hint(fmt.Errorf("the base, %s, has errors:\n%w", before.Name, err),
			"compare with another commit: --base REF")
	}
	p.before = before
	return side(before), nil
}

func (p *Preview) baseRevision() (*source.Revision, error) {
	switch {
	case p.Base != "":
		rev, err := p.git.Revision(p.Base)
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
func (p *Preview) publishedSide(ctx context.Context) (side plan.Side, err error) {
	if p.store, err = stores.OpenExisting(ctx, p.Against); err != nil {
		return side, err
	}
	if p.found, err = Compare(ctx, p.head, p.store, time.Now(), publish.Recovery{}); err != nil {
		return side, err
	}
	release := p.found.Release
	if p.Base != "" {
		if _, err = p.baseSide(ctx); err != nil {
			return side, err
		}
	} else if p.before, err = desired.Earlier(ctx, p.git, release.Commit(), p.cache); err != nil {
		return side, err
	}
	side = plan.Side{Endpoint: plan.Endpoint{Name: "an empty store"}, Hosts: p.found.Was, Roots: release.Roots(),
		Trust: roots.Trust(p.head.Fleet, release.Roots())}
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
		side.Endpoint = plan.Endpoint{Name: fmt.Sprintf("release %d (commit %.12s)", release.Number(), r.Commit),
			Commit: r.Commit, Tree: r.Tree,
			Release: release.Number(), Head: release.Head()}
	}
	return side, nil
}
