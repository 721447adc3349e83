package reconcile

import (
	"context"
	"fmt"

	"bakehouse/reconcile/accept"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
)

// warnStranded warns of the hosts that will not accept what the pass makes. It is no refusal, because nothing is lost:
// they keep what they have, and accept the package of a later pass that signs with their key too.
func (p *pass) warnStranded(ctx context.Context, release *publish.State) ([]plan.Stranded, error) {
	all, err := p.stranded(ctx, release)
	for _, s := range all {
		text := fmt.Sprintf("%v; %s", &s, s.Hint)
		if s.When == plan.StrandedPerhaps {
			console.Note(p.log, "%s", text)
			continue
		}
		console.Warn(p.log, "%s", text)
	}
	return all, err
}

func (p *pass) stranded(ctx context.Context, release *publish.State) ([]plan.Stranded, error) {
	if release.Release() == nil {
		return accept.Since(nil, p.head, p.now)
	}
	if rev, err := p.head.Repo.Revision(release.Commit()); err == nil {
		settled, err := accept.Settled(rev.FS, p.head, p.now)
		if err != nil {
			return nil, err
		}
		if settled {
			return accept.Since(nil, p.head, p.now)
		}
	}
	before, err := desired.Earlier(ctx, p.head.Repo, release.Commit(), p.head.Cache)
	if err != nil {
		return nil, err
	}
	return accept.Beside(ctx, p.store, release, before, p.head, p.now)
}
