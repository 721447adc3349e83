package reconcile

import (
	"context"
	"errors"
	"io"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// Refreshed is what `reconcile refresh` did, as --json prints it.
type Refreshed struct {
	Commit    string           `json:"commit"` // whose keys/ and trust/ were read
	Verified  *source.Verified `json:"verified,omitempty"`
	Release   int64            `json:"release"`
	Timestamp int64            `json:"timestamp"` // version of the head
	Renewed   []string         `json:"renewed"`   // roles
	Aging     []publish.Aging  `json:"aging"`     // roles that should be renewed too, by a run with their keys
	Waiting   []int            `json:"waiting"`   // roots in trust/ that are not published yet
}

// Refresh renews the store's timestamp, and its snapshot if that is due. It evaluates no host and bakes nothing.
func Refresh(ctx context.Context, o Options, log io.Writer) (out *Refreshed, err error) {
	p, err := o.open(log)
	if err != nil {
		return nil, err
	}
	f, err := evaluate.LoadTop(ctx, p.head.Files)
	if err != nil {
		return nil, err
	}
	if p.store, err = stores.OpenExisting(ctx, p.Store); err != nil {
		return nil, err
	}
	held, unlock, err := store.WithLock(ctx, p.store, "reconcile refresh")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	p.store = held
	high, err := p.highWaterOf(f)
	if err == nil {
		err = high.check(ctx, p.store, f, &publish.Recovery{})
	}
	if err != nil {
		return nil, err
	}
	head, err := publish.ReadHead(ctx, p.store, f, p.now)
	if err != nil {
		return nil, err
	}
	out = &Refreshed{Commit: p.head.Revision.Commit, Waiting: []int{}}
	if p.verifier != nil {
		if out.Verified, err = p.verifier.Since(publishedCommit(head, log)); err != nil {
			return nil, err
		}
	}
	_, timestamp, err := headOf(ctx, p.store)
	if err != nil {
		return nil, err
	}
	mind, err := newMemory(followed, p.head, p.verifier)
	if err != nil {
		return nil, err
	}
	summary, err := head.Refresh(ctx, p.store, p.Keys.Open(ctx, f))
	if err != nil {
		return nil, err
	}
	p.keepHighWater(ctx, high)
	if mind.has(timestamp) { // what a renewal follows from was judged
		if err := p.remember(ctx, summary.Head); err != nil {
			console.Note(log, "%v", err)
		}
	}
	for n := head.Roots() + 1; n <= len(f.Roots); n++ {
		out.Waiting = append(out.Waiting, n)
		console.Warn(log, "trust/%d.root.json is not published: run reconcile with all keys", n)
	}
	warnAging(log, summary.Aging)
	out.Release, out.Timestamp, out.Renewed, out.Aging = summary.Number, summary.Head, summary.Roles, summary.Aging
	return out, nil
}
