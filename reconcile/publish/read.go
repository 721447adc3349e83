package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/agent/trust/bins"
	"bakehouse/reconcile/roots"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Read reads and verifies what the store publishes. It trusts the roots in the repo only: a store that was altered,
// rolled back to an older head under a newer name, or that belongs to another fleet is refused, and so is one with
// targets or bins that have expired.
//
// An expired timestamp or snapshot is accepted, because whoever calls this is about to renew it and nobody else could.
// That is safe: their expiry protects those who cannot know what is current from being held on an old state. A
// publisher derives every host's package from the commit again; what it takes over is bookkeeping (versions, release
// numbers, since, older candidates). Given an old state it can only publish versions that hosts have seen already, and
// they refuse those.
func Read(ctx context.Context, st store.Store, f *fleet.Fleet, now time.Time) (*State, error) {
	return Recover(ctx, st, f, now, Recovery{}, nil)
}

// Recovery is what an operator reports has happened to a store; unreported, it is refused.
type Recovery struct {
	// Seen is the highest timestamp version that a host has seen, if that is more than the store has: it was restored
	// from a backup. All is then published again, above that version.
	Seen int64
	// Expired says that nobody renewed targets and bins in time. All that they say is ignored but numbers that must
	// not be given twice: whoever holds the store could have put back a state of long ago.
	Expired bool
}

// recoveryMargin is how far above the highest known version a recovery publishes. A host reports what it had before
// it got the newest, and versions of roles other than the timestamp run ahead of it, by files of runs that died.
const recoveryMargin = 1000

// Recover is Read for a store to which r has happened. Bins that memory knows as verified are not read again; it may be
// nil.
func Recover(
	ctx context.Context, st store.Store, f *fleet.Fleet, now time.Time, r Recovery, memory bins.Memory,
) (*State, error) {
	s := &State{fleet: f, now: wholeSeconds(now), memory: memory, assignments: map[string]*schema.Assignment{}}
	if err := s.readRoots(ctx, st); err != nil {
		return nil, err
	}
	if r.Seen < 0 || r.Seen > schema.MaxTimestampVersion/2 {
		return nil, fmt.Errorf("%d is no version of a timestamp", r.Seen)
	}
	var err error
	if s.head, err = store.Head(ctx, st); err != nil {
		return s, err
	}
	if r.Seen > 0 {
		s.number = max(r.Seen, s.head) + recoveryMargin
		s.minVersion = s.number + 1
	}
	if s.head == 0 {
		return s, nil
	}
	waived := []string{metadata.TIMESTAMP, metadata.SNAPSHOT}
	if r.Expired {
		waived = nil // all
	}
	c, err := s.verify(ctx, st, s.fleet.Roots, waived)
	// The newest roots may have dropped the keys that signed the current state: they are about to be published, or a
	// run died before it could publish what follows from them.
	for n := len(f.Roots) - 1; n > 0 && fault.IsRefusal(err); n-- {
		if older, olderErr := s.verify(ctx, st, f.Roots[:n], waived); olderErr == nil {
			c, err = older, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("published state of the store: %w", err)
	}
	if err := s.setTop(c); err != nil {
		return nil, err
	}
	if r.Expired || !s.believed(metadata.SNAPSHOT) {
		c.IgnoreTree()
	}
	c.Remember(memory)
	if err := s.load(ctx, st, c); err != nil {
		return nil, err
	}
	s.believe(r.Expired)
	return s, nil
}

// setBins takes over the bins that c reads.
func (s *State) setBins(ctx context.Context, c *trust.Client, src trust.Source) error {
	all, err := c.Bins(ctx, src)
	if err != nil {
		return fmt.Errorf("published state of the store: %w", s.hintExpired(err))
	}
	s.bins, s.sums = map[string]*bins.Bin{}, maps.Clone(c.Sums())
	for i, name := range s.layout(s.targets.Signed.Delegations).Names() {
		s.bins[name], s.sums[name] = all[i], all[i].SHA256
	}
	return nil
}

// setTop takes over what c verified, bins aside. It must be what the head's name says.
func (s *State) setTop(c *trust.Client) error {
	set := c.Verified()
	if got := set.Timestamp.Signed.Version; got != s.head {
		return fault.Refuse(fmt.Errorf("store: %s holds timestamp version %d", schema.TimestampKey(s.head), got),
			"somebody put an older state on top: find out who, and remove the object")
	}
	s.timestamp, s.snapshot, s.targets = set.Timestamp, set.Snapshot, set.Targets[metadata.TARGETS]
	s.policy = c.Policy()
	versions := map[string]int64{metadata.SNAPSHOT: s.snapshot.Signed.Version,
		metadata.TARGETS: s.targets.Signed.Version}
	for role, version := range versions {
		if version > schema.MaxTimestampVersion && s.believed(role) {
			return fault.Refuse(fmt.Errorf("store: %s has version %d, and nobody publishes that often", role, version),
				"its key is in other hands: replace it by a next root (bakehouse root next)")
		}
	}
	return nil
}

// load reads bins and targets.
func (s *State) load(ctx context.Context, st store.Store, c *trust.Client) error {
	src := s.source(st, s.fleet.Roots)
	said := content{policy: c.Policy()}
	count := func(n int64) {
		if n < schema.MaxTimestampVersion { // what is beyond a thief has made up
			said.number = max(said.number, n)
		}
	}
	if err := s.setBins(ctx, c, src); err != nil {
		return err
	}
	for _, b := range s.bins {
		for i := range b.Hosts {
			count(b.Hosts[i].Release)
			for _, cand := range b.Hosts[i].Older {
				count(cand.Release)
			}
		}
	}
	var err error
	if said.release, err = c.Release(ctx, src); err != nil {
		return fmt.Errorf("published state of the store: %w", err)
	}
	count(said.release.Number)
	if said.access, err = c.Access(ctx, src); err != nil && !errors.Is(err, trust.ErrNoTarget) {
		return fmt.Errorf("published state of the store: %w", err)
	}
	if said.about, err = c.About(ctx, src); err != nil && !errors.Is(err, trust.ErrNoTarget) {
		return fmt.Errorf("published state of the store: %w", err)
	}
	s.said = said
	return nil
}

// believe carries forward what the state says. Of what is signed by keys that the newest root has dropped, and of all
// if it is expired, nothing is but numbers that must not be given twice.
func (s *State) believe(expired bool) {
	s.number = max(s.number, s.said.number)
	s.assignments = map[string]*schema.Assignment{}
	s.policy, s.release, s.access, s.about = nil, nil, nil, nil
	if expired || s.head == 0 || !s.believed(metadata.TARGETS) {
		return
	}
	s.policy, s.release, s.access, s.about = s.said.policy, s.said.release, s.said.access, s.said.about
	believed := s.believedBins()
	n := 0
	for _, b := range s.bins {
		n += len(b.Hosts)
	}
	s.assignments = make(map[string]*schema.Assignment, n)
	for name, b := range s.bins {
		if !believed(name) {
			continue
		}
		for i := range b.Hosts {
			s.assignments[b.Hosts[i].Host] = &b.Hosts[i]
		}
	}
}

// hintExpired says what to do about targets or bins that have expired.
func (s *State) hintExpired(err error) error {
	var expired *trust.ExpiredError
	if errors.As(err, &expired) {
		return fault.Hint(err, "check the clock here; if nobody has run reconcile since, "+
			"sign everything again from the commit: bakehouse reconcile recover --after-expiry")
	}
	return err
}

// readRoots verifies the repo's roots and compares them with the store's.
func (s *State) readRoots(ctx context.Context, st store.Store) error {
	f := s.fleet
	var err error
	if s.root, err = roots.Verify(f); err != nil {
		return err
	}
	if f.Anchor() == nil {
		return fault.Hint(
			fmt.Errorf("fleet.cue: the anchor is root %d, and trust/ ends at %d", f.AnchorVersion, len(f.Roots)),
			"set it to a root that is there")
	}
	if err := roots.Agree(s.root, f); err != nil {
		return err
	}
	if expires := s.root.Signed.Expires; !s.now.Before(expires) {
		return fault.Hint(&trust.ExpiredError{Role: metadata.ROOT, Expires: expires, Now: s.now}, "sign a next root")
	}
	s.info, _ = trust.Info(s.root)
	s.roots, err = CheckRoots(ctx, st, f)
	return err
}

// CheckRoots counts the roots that the store has, and refuses any that is not the one in f's trust/. The same root with
// other signatures is not altered, but as the anchor of packages it would be one that no host has seen.
func CheckRoots(ctx context.Context, st store.Store, f *fleet.Fleet) (int, error) {
	for n := 1; ; n++ {
		b, err := store.Read(ctx, st, schema.MetadataKey(metadata.ROOT, int64(n)), schema.MaxRoot)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return n - 1, nil
		case err != nil:
			return 0, err
		case n > len(f.Roots):
			return 0, fault.Hint(fmt.Errorf("the store publishes root %d, which trust/ lacks", n),
				"run from a newer commit")
		case bytes.Equal(b, f.Roots[n-1]):
		case !roots.Same(b, f.Roots[n-1]) || !verifies(append(slices.Clone(f.Roots[:n-1]), b)):
			return 0, fault.Refuse(fmt.Errorf("root %d in the store is not trust/%d.root.json", n, n),
				"the store belongs to another fleet or was altered")
		case n == f.AnchorVersion:
			return 0, fault.Hint(fmt.Errorf("trust/%d.root.json has other signatures than when it was published, "+
				"and packages name it by its bytes", n),
				"restore it from the repo's history, or copy %s of the store over it",
				schema.MetadataKey(metadata.ROOT, int64(n)))
		}
	}
}

func verifies(roots [][]byte) bool {
	_, err := trust.VerifyRoots(roots)
	return err == nil
}

// verify walks to the head by these roots. Expiry of the waived roles does not count, nor does any if there are none.
func (s *State) verify(ctx context.Context, st store.Store, roots [][]byte, waived []string) (*trust.Client, error) {
	c, err := trust.Open("", roots[0], func() time.Time { return s.now })
	if err != nil {
		return nil, err
	}
	c.AllowExpired(waived...)
	if len(roots) < len(s.fleet.Roots) {
		c.AllowExpired(metadata.ROOT) // an older one; the newest has been judged
	}
	return c, s.hintExpired(c.Refresh(ctx, s.source(st, roots), nil))
}

// rootSource is the store, but for the roots, which come from the repo.
type rootSource struct {
	trust.Source
	roots [][]byte
}

func (s *State) source(st store.Store, roots [][]byte) trust.Source {
	head := func(context.Context) (int64, error) { return s.head, nil }
	return rootSource{store.Source(st, head), roots}
}

func (r rootSource) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	for i, b := range r.roots {
		if name == fmt.Sprintf("%d.root.json", i+1) {
			return b, nil
		}
	}
	if len(name) > 10 && name[len(name)-10:] == ".root.json" {
		return nil, fs.ErrNotExist
	}
	return r.Source.Metadata(ctx, name, limit)
}
