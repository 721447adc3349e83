package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/keys"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// A schedule that renews the timestamp every day should hold no key that could give a host another package. It goes
// by the roots that the store publishes: while people sign the next one, or keys/ and trust/ disagree, it goes on.

// ReadHead reads what the store publishes, as far as Refresh needs it; of f it needs what fleet.LoadTop reads. That
// targets or bins have expired does not keep the rest from being renewed.
func ReadHead(ctx context.Context, st store.Store, f *fleet.Fleet, now time.Time) (*State, error) {
	published, err := CheckRoots(ctx, st, f)
	if err != nil {
		return nil, err
	}
	if published == 0 {
		return nil, fault.Hint(errors.New("the store publishes nothing that could be renewed"),
			"publish a release with bakehouse reconcile, or set the right store with --store")
	}
	only := *f
	only.Roots = f.Roots[:published]
	s := &State{fleet: &only, now: wholeSeconds(now), roots: published}
	if s.root, err = trust.VerifyRoots(only.Roots); err != nil {
		return nil, fmt.Errorf("trust/: %w", err)
	}
	if expires := s.root.Signed.Expires; !s.now.Before(expires) {
		return nil, fault.Hint(&trust.ExpiredError{Role: metadata.ROOT, Expires: expires, Now: s.now},
			"sign a next root")
	}
	s.info, _ = trust.Info(s.root)
	if s.head, err = store.Head(ctx, st); err != nil {
		return nil, err
	}
	c, err := s.verify(ctx, st, only.Roots, nil)
	if err == nil {
		err = s.setTop(c)
	}
	if err != nil {
		return nil, fmt.Errorf("published state of the store: %w", err)
	}
	src := s.source(st, only.Roots)
	if err := s.setBins(ctx, c, src); err != nil {
		return nil, err
	}
	s.release, err = c.Release(ctx, src)
	return s, err
}

// Refresh renews the timestamp, and the snapshot if it is past half of its lifetime and its keys are at hand.
func (s *State) Refresh(ctx context.Context, st store.Store, ring *keys.Keyring) (*Summary, error) {
	now, err := notBefore(s.policy, s.now)
	if err != nil {
		return nil, err
	}
	p := &publisher{s: s, d: &Draft{Time: now}, st: st, ring: ring, signing: &signing{timestamp: true},
		sum: &Summary{Number: s.release.Number, Published: true}}
	p.snapshot = ring.Enough(s.threshold, fleet.UseSnapshot) == nil &&
		!now.Before(half(metadata.SNAPSHOT, s.snapshot.Signed.Expires, s.fleet.Lifetimes))
	if err := p.unlock(); err != nil {
		return nil, err
	}
	if err := p.write(ctx); err != nil {
		return nil, err
	}
	p.sum.Aging = s.aging(now, func(role string) bool { return slices.Contains(p.sum.Roles, role) })
	return p.sum, nil
}
