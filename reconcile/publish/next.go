package publish

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/agent/trust/bins"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Whoever judges what was published makes the next state again, without keys and store, and compares: everything but
// signatures and versions follows from the state before, the commit and the time of issue.

// Reader reads states behind the timestamps of a store, the older ones first: two states share most of their bins.
type Reader struct {
	store  store.Store
	fleet  *fleet.Fleet
	memory bins.Memory
	client *trust.Client // of the state read last
	roots  int           // that it was verified by
}

// NewReader verifies by the roots of f, as they are in the repository. Bins that were verified before are looked for in
// memory.
func NewReader(st store.Store, f *fleet.Fleet, memory bins.Memory) *Reader {
	return &Reader{store: st, fleet: f, memory: memory}
}

// At reads and verifies the state behind the timestamp of that version, 0 being the state of an empty store. Expiry
// does not count. It counts as signed by the newest roots that vouch for it.
func (r *Reader) At(ctx context.Context, version int64) (*State, error) {
	if version == 0 {
		return &State{fleet: r.fleet, assignments: map[string]*schema.Assignment{}}, nil
	}
	var first error
	for n := len(r.fleet.Roots); n > 0; n-- {
		s, err := r.at(ctx, version, n)
		if err == nil {
			return s, nil
		}
		if first == nil {
			first = err
		}
		if !fault.IsRefusal(err) {
			break
		}
	}
	r.client = nil
	return nil, fmt.Errorf("%s: %w", schema.TimestampKey(version), first)
}

func (r *Reader) at(ctx context.Context, version int64, roots int) (s *State, err error) {
	only := *r.fleet
	only.Roots = r.fleet.Roots[:roots]
	s = &State{fleet: &only, head: version, roots: roots}
	if s.root, err = trust.VerifyRoots(only.Roots); err != nil {
		return nil, err
	}
	s.info, _ = trust.Info(s.root)
	src := s.source(r.store, only.Roots)
	c := r.client
	if c == nil || r.roots != roots || c.Refresh(ctx, src, nil) != nil {
		if c, err = trust.Open("", only.Roots[0], nil); err != nil {
			return nil, err
		}
		c.AllowExpired()
		c.Remember(r.memory)
		if err := c.Refresh(ctx, src, nil); err != nil {
			return nil, err
		}
	}
	if err := s.setTop(c); err != nil {
		return nil, err
	}
	if err := s.load(ctx, r.store, c); err != nil {
		return nil, err
	}
	r.client, r.roots = c, roots
	s.believe(false)
	return s, nil
}

// As is what a publisher with the roots and lifetimes of f would have read of the state. After a restore numbers and
// versions begin at minVersion; if expired, nothing is carried forward but numbers.
func (s *State) As(f *fleet.Fleet, minVersion int64, expired bool) (*State, error) {
	n := *s
	n.fleet, n.roots, n.number, n.minVersion = f, len(f.Roots), max(minVersion-1, 0), minVersion
	var err error
	if n.root, err = trust.VerifyRoots(f.Roots); err != nil {
		return nil, err
	}
	n.info, _ = trust.Info(n.root)
	n.believe(expired)
	return &n, nil
}

// Next is what follows from a state.
type Next struct {
	*Draft
	state *State
	signs *signing
}

// Next is what a run would publish that holds all keys. The error is one of NewDraft.
func (s *State) Next(want Wanted, issued time.Time) (*Next, error) {
	d, err := NewDraft(s.Previous(), want, issued)
	if err != nil {
		return nil, err
	}
	return &Next{d, s, s.plan(d, true)}, nil
}

// Same wants what is published.
func (s *State) Same() Wanted {
	w := Wanted{Access: s.access, About: s.about}
	if s.policy != nil {
		w.Policy, w.Release = *s.policy, *s.release
	}
	for a := range s.InOrder() {
		w.Assignments = append(w.Assignments, *a)
	}
	return w
}

// Signs reports whether the run signs the role.
func (n *Next) Signs(role string) bool { return n.signs.signs(role) }

// Renews reports whether a run signs targets or bins again that say nothing new, which it does without need if it has
// their keys: such a run may also leave them.
func (n *Next) Renews() bool {
	plain := n.state.plan(n.Draft, false)
	return n.signs.targets != plain.targets || !slices.Equal(n.signs.bins, plain.bins)
}

// Expires is when the role does that the run signs.
func (n *Next) Expires(role string) time.Time {
	life := n.state.fleet.Lifetimes
	switch role {
	case metadata.TIMESTAMP:
		return n.Time.Add(life.Timestamp)
	case metadata.SNAPSHOT:
		return n.Time.Add(life.Snapshot)
	}
	return n.Time.Add(life.Targets)
}

// Versions are the lowest and the highest that the role can have: files that crashed runs left are stepped over.
func (n *Next) Versions(role string) (low, high int64) {
	if role == metadata.TIMESTAMP {
		v := max(n.state.head+1, n.state.minVersion)
		return v, v
	}
	after := n.state.after(role)
	return after + 1, after + maxLeftovers
}

// Says is the signed part of the role in canonical JSON, with the version and expiry that it has in published, and of
// snapshot and timestamp with the files published there.
func (n *Next) Says(role string, published *State) ([]byte, error) {
	version, expires := published.Version(role), published.Expires(role)
	switch role {
	case metadata.TIMESTAMP:
		sum := published.sums[metadata.SNAPSHOT]
		file := &metadata.MetaFiles{Version: published.Version(metadata.SNAPSHOT),
			Hashes: metadata.Hashes{"sha256": sum[:]}}
		if listed := published.timestampMeta(); listed != nil {
			file.Length = listed.Length // the reader compared it with the file
		}
		md := timestampOf(file, expires)
		md.Signed.Version = version
		return cjson.EncodeCanonical(md.Signed)
	case metadata.SNAPSHOT:
		meta := map[string]*metadata.MetaFiles{}
		for _, name := range n.Roles() {
			meta[name+".json"] = metadata.MetaFile(published.Version(name))
		}
		md, _ := snapshotOf(meta, published.sums, expires)
		md.Signed.Version = version
		return cjson.EncodeCanonical(md.Signed)
	}
	if role != metadata.TARGETS {
		return n.Signed(role, version, expires)
	}
	md := n.top(n.state.fleet.Lifetimes)
	md.Signed.Version, md.Signed.Expires = version, expires
	return cjson.EncodeCanonical(md.Signed)
}

// Roles are targets and all bins.
func (n *Next) Roles() []string {
	return append([]string{metadata.TARGETS}, n.Delegations.SuccinctRoles.GetRoles()...)
}

// Given yields what the draft gives each host.
func (d *Draft) Given() iter.Seq[schema.Assignment] {
	return func(yield func(schema.Assignment) bool) {
		for _, bin := range d.assignments {
			for _, a := range bin {
				if !yield(*a) {
					return
				}
			}
		}
	}
}

// BinOf names the bin that has the host.
func (d *Draft) BinOf(host string) string { return d.layout.Of(host) }

// Says is the signed part of a role of a state that has one, in canonical JSON.
func (r *Reader) Says(ctx context.Context, s *State, role string) ([]byte, error) {
	switch role {
	case metadata.TIMESTAMP:
		return cjson.EncodeCanonical(s.timestamp.Signed)
	case metadata.SNAPSHOT:
		return cjson.EncodeCanonical(s.snapshot.Signed)
	case metadata.TARGETS:
		return cjson.EncodeCanonical(s.targets.Signed)
	}
	// Of a bin nobody keeps the file, which was verified when the state was read.
	key := schema.MetadataKey(role, s.Version(role))
	b, err := store.Read(ctx, r.store, key, schema.MaxTargets)
	if err != nil {
		return nil, err
	}
	if got := schema.DigestOf(b); got != s.sums[role] {
		return nil, fault.Refuse(&schema.AlteredError{Object: key, Want: s.sums[role], Got: got},
			"find out who alters the store")
	}
	md, err := metadata.Targets().FromBytes(b)
	if err != nil {
		return nil, err
	}
	return cjson.EncodeCanonical(md.Signed)
}

// Version is that of a published role, 0 if there is none.
func (s *State) Version(role string) int64 {
	switch b := s.bins[role]; {
	case role == metadata.TIMESTAMP:
		return s.head
	case role == metadata.SNAPSHOT && s.snapshot != nil:
		return s.snapshot.Signed.Version
	case role == metadata.TARGETS && s.targets != nil:
		return s.targets.Signed.Version
	case b != nil:
		return b.Version
	}
	return 0
}

// Expires is when a published role does, zero if there is none.
func (s *State) Expires(role string) time.Time {
	switch b := s.bins[role]; {
	case role == metadata.TIMESTAMP && s.timestamp != nil:
		return s.timestamp.Signed.Expires
	case role == metadata.SNAPSHOT && s.snapshot != nil:
		return s.snapshot.Signed.Expires
	case role == metadata.TARGETS && s.targets != nil:
		return s.targets.Signed.Expires
	case b != nil:
		return b.Expires
	}
	return time.Time{}
}

// Sum is the digest of a published role's file, zero for the timestamp's.
func (s *State) Sum(role string) schema.Digest { return s.sums[role] }

// Listed is the digest of a top-level target, zero if there is none.
func (s *State) Listed(target string) schema.Digest {
	if s.targets == nil || s.targets.Signed.Targets[target] == nil {
		return schema.Digest{}
	}
	d, _ := schema.ParseHex(s.targets.Signed.Targets[target].Hashes["sha256"].String())
	return d
}
