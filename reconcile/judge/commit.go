package judge

import (
	"context"
	"errors"
	"fmt"

	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/roots"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// branch is the commits that count as reviewed: those that the head descends from.
type branch struct {
	Options
	top       *fleet.Fleet              // of the head
	evaluated map[string]*desired.State // by commit; few
}

func newBranch(o Options, top *fleet.Fleet) *branch {
	b := &branch{o, top, map[string]*desired.State{}}
	if o.Head.Fleet != nil {
		b.evaluated[o.Head.Commit()] = o.Head
	}
	return b
}

// wants returns what the release's commit wants, nil if that is not to be known: the verdict says why. A commit that
// is not on the branch is not evaluated: nobody has looked at it.
func (b *branch) wants(ctx context.Context, v *Verdict, r *schema.Release, before string) (*desired.State, error) {
	repo, head := b.Head.Repo, b.Head.Commit()
	if err := source.CheckCommit(r.Commit); err != nil {
		v.alarm("", "commit", "%v", err)
		return nil, nil
	}
	rev, err := repo.Revision(r.Commit)
	if err != nil {
		if repo.Shallow() {
			v.unjudged("", "commit", "commit %.12s is not in this clone, which is shallow", r.Commit)
		} else {
			v.alarm("", "commit", "commit %.12s does not exist in the repository", r.Commit)
		}
		return nil, nil
	}
	reviewed, err := repo.Contains(head, r.Commit)
	switch {
	case err != nil && repo.Shallow():
		v.unjudged("", "commit", "this shallow clone does not show whether commit %.12s is on the branch", r.Commit)
		return nil, nil
	case err != nil:
		return nil, err
	case !reviewed:
		v.alarm("", "commit", "commit %.12s is not an ancestor of %.12s, so nobody reviewed it", r.Commit, head)
		return nil, nil
	}
	if before != "" && before != r.Commit {
		if ours, err := repo.Contains(head, before); err == nil && ours {
			if forward, err := repo.Contains(r.Commit, before); err == nil && !forward {
				v.alarm("", "commit", "commit %.12s is not a descendant of %.12s, which was published before: "+
					"who goes back commits the reverse (git revert)", r.Commit, before)
			}
		} else {
			before = "" // it is off the branch, as its own verdict says
		}
	}
	if rev.Tree != r.Tree {
		v.alarm("", "tree", "commit %.12s has the tree %.12s, and the release names %.12s", r.Commit, rev.Tree, r.Tree)
	}
	if rev.Time.Sub(r.Issued) > clockSlack {
		v.alarm("", "issued", "the release is of %s, and its commit was made at %s", stamp(r.Issued), stamp(rev.Time))
	}
	if b.Commits != nil {
		if err := b.Commits.Between(before, r.Commit); err != nil {
			v.alarm("", "signature", "%v", err)
		}
	}
	s, err := b.evaluate(ctx, r.Commit, rev)
	var problems fleet.Problems
	if errors.As(err, &problems) || fault.IsRefusal(err) {
		v.differs(Entry{"", "commit", fmt.Sprintf("commit %.12s cannot be published: %v", r.Commit, err)})
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if n, m := len(s.Fleet.Roots), len(b.top.Roots); n > m {
		v.alarm("", "root", "commit %.12s has %d roots, and the head %d", r.Commit, n, m)
		return nil, nil
	}
	for n, root := range s.Fleet.Roots {
		if !roots.Same(root, b.top.Roots[n]) {
			v.alarm("", "root", "trust/%d.root.json of commit %.12s is not that of the head", n+1, r.Commit)
			return nil, nil
		}
	}
	return s, nil
}

// evaluate is what a commit wants. The last few stay in memory: releases of one commit follow each other.
func (b *branch) evaluate(ctx context.Context, commit string, rev *source.Revision) (*desired.State, error) {
	if s := b.evaluated[commit]; s != nil {
		return s, nil
	}
	s := desired.AtRevision(b.Head.Repo, rev, b.Head.Cache)
	if err := s.Evaluate(ctx); err != nil {
		return nil, err
	}
	if err := s.Complete(); err != nil {
		return nil, err
	}
	if len(b.evaluated) > 1 {
		clear(b.evaluated)
	}
	b.evaluated[commit] = s
	return s, nil
}
