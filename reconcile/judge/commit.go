package judge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/roots"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// clockSlack is by how much the clocks of publishers, reviewers and the judge may differ, and how long a run may take.
const clockSlack = 24 * time.Hour

// commit returns what the release's commit wants, nil if that is not to be known: the verdict says why. A commit that
// is not on the branch is not evaluated: nobody has looked at it.
func (j *Judge) commit(ctx context.Context, v *Verdict, r *schema.Release, before string) (*desired.State, error) {
	repo, head := j.Head.Repo, j.Head.Commit()
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
	if j.Commits != nil {
		if err := j.Commits.Between(before, r.Commit); err != nil {
			v.alarm("", "signature", "%v", err)
		}
	}
	s, err := j.evaluate(ctx, r.Commit, rev)
	var problems fleet.Problems
	if errors.As(err, &problems) || fault.IsRefusal(err) {
		v.differs(Entry{"", "commit", fmt.Sprintf("commit %.12s cannot be published: %v", r.Commit, err)})
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if n, m := len(s.Fleet.Roots), len(j.top.Roots); n > m {
		v.alarm("", "root", "commit %.12s has %d roots, and the head %d", r.Commit, n, m)
		return nil, nil
	}
	for n, root := range s.Fleet.Roots {
		if !roots.Same(root, j.top.Roots[n]) {
			v.alarm("", "root", "trust/%d.root.json of commit %.12s is not that of the head", n+1, r.Commit)
			return nil, nil
		}
	}
	return s, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// evaluate is what a commit wants. The last few stay in memory: releases of one commit follow each other.
func (j *Judge) evaluate(ctx context.Context, commit string, rev *source.Revision) (*desired.State, error) {
	if s := j.evaluated[commit]; s != nil {
		return s, nil
	}
	s := desired.AtRevision(j.Head.Repo, rev, j.Head.Cache)
	if err := s.Evaluate(ctx); err != nil {
		return nil, err
	}
	if err := s.Complete(); err != nil {
		return nil, err
	}
	if len(j.evaluated) > 1 {
		clear(j.evaluated)
	}
	j.evaluated[commit] = s
	return s, nil
}
