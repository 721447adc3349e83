package desired

import (
	"context"

	"bakehouse/reconcile/plan/ways"
	"bakehouse/reconcile/source"
	"bakehouse/schema/fleet"
)

// changedWays warns of ways to the server that change for the whole fleet at once, against the commit before: the
// parent, or of a work tree its HEAD. A clone that lacks it, or one that had errors, cannot tell.
func (s *State) changedWays(ctx context.Context) (fleet.Problems, error) {
	var commit string
	repo := s.Repo
	if s.Revision != nil {
		parent, err := repo.Parent(s.Revision)
		if err != nil || parent == nil || parent.Tree == s.Revision.Tree {
			return nil, nil
		}
		commit = parent.Commit
	} else {
		var err error
		if repo, err = source.Open(s.dir); err != nil {
			return nil, nil
		}
		head, err := repo.Revision("HEAD")
		if err != nil {
			return nil, nil
		}
		commit = head.Commit
	}
	before, err := Earlier(ctx, repo, commit, s.Cache)
	if err != nil || before == nil {
		return nil, ctx.Err()
	}
	return ways.Changed(ways.Side{Policy: before.Policy(), Resolved: before.Resolved},
		ways.Side{Policy: s.Policy(), Resolved: s.Resolved}), nil
}
