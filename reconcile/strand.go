package reconcile

import (
	"context"
	"fmt"
	"io"
	"time"

	"bakehouse/reconcile/accept"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/serve/store"
)

// warnStranded warns of the hosts that will not accept what a pass makes of head. It is no refusal, because nothing is
// lost: they keep what they have, and accept the package of a later pass that signs with their key too.
func warnStranded(
	ctx context.Context, st store.Store, release *publish.State, head *desired.State, now time.Time, log io.Writer,
) ([]plan.Stranded, error) {
	all, err := stranded(ctx, st, release, head, now)
	for _, s := range all {
		text := fmt.Sprintf("%v; %s", &s, s.Hint)
		if s.When == plan.StrandedPerhaps {
			console.Note(log, "%s", text)
			continue
		}
		console.Warn(log, "%s", text)
	}
	return all, err
}

func stranded(
	ctx context.Context, st store.Store, release *publish.State, head *desired.State, now time.Time,
) ([]plan.Stranded, error) {
	if release.Release() == nil {
		return accept.Since(nil, head, now)
	}
	if rev, err := head.Repo.Revision(release.Commit()); err == nil {
		settled, err := accept.Settled(rev.FS, head, now)
		if err != nil {
			return nil, err
		}
		if settled {
			return accept.Since(nil, head, now)
		}
	}
	before, err := desired.Earlier(ctx, head.Repo, release.Commit(), head.Cache)
	if err != nil {
		return nil, err
	}
	return accept.Beside(ctx, st, release, before, head, now)
}
