package publish

import (
	"math/bits"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/agent/trust/bins"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// State is what the store publishes, verified from the repo's roots; or the empty state of a store without a release.
type State struct {
	fleet  *fleet.Fleet
	now    time.Time
	memory bins.Memory // of bins that are verified; may be nil

	root       *metadata.Metadata[metadata.RootType] // the newest in the repo
	info       trust.RootInfo
	roots      int   // how many of the repo's roots the store has
	head       int64 // version of the timestamp, 0 if there is none
	minVersion int64 // if not 0, everything is signed again, from this version on

	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   *metadata.Metadata[metadata.TargetsType]
	bins      map[string]*bins.Bin     // by role
	sums      map[string]schema.Digest // of the files of targets and bins, by role

	said content // all of it; what follows is as much as the newest root's keys vouch for

	number      int64
	assignments map[string]*schema.Assignment
	policy      *schema.Policy
	release     *schema.Release
	access      *schema.Access
	about       *schema.About
}

// content is what a verified state says, whoever signed it.
type content struct {
	number  int64 // the highest that must not be given twice
	policy  *schema.Policy
	release *schema.Release
	access  *schema.Access
	about   *schema.About
}

// Head is the version of the published timestamp, 0 if there is none.
func (s *State) Head() int64 { return s.head }

// Roots is how many of the repo's roots the store publishes.
func (s *State) Roots() int { return s.roots }

// IssueTime is when the next state is issued if it is published now, in whole seconds: what is published may have been
// issued a little later, by another clock.
func (s *State) IssueTime() (time.Time, error) { return notBefore(s.policy, s.now) }

// Number is the number of the newest release, 0 if there is none.
func (s *State) Number() int64 { return s.number }

// Assignments maps the names of hosts to what is published for them. It must not be changed.
func (s *State) Assignments() map[string]*schema.Assignment { return s.assignments }

// Policy is the published policy, nil if there is none.
func (s *State) Policy() *schema.Policy { return s.policy }

// Release says where the published state came from, nil if nothing is published.
func (s *State) Release() *schema.Release { return s.release }

// Access is the published access target, nil if there is none.
func (s *State) Access() *schema.Access { return s.access }

// About is the published target about, nil if there is none.
func (s *State) About() *schema.About { return s.about }

// believed reports whether the newest root still trusts the keys that signed what is published of the role.
func (s *State) believed(role string) bool {
	switch role {
	case metadata.SNAPSHOT:
		return s.root.VerifyDelegate(role, s.snapshot) == nil
	case metadata.TIMESTAMP:
		return s.root.VerifyDelegate(role, s.timestamp) == nil
	}
	return s.root.VerifyDelegate(role, s.targets) == nil
}

// threshold is how many keys have to sign the role.
func (s *State) threshold(role string) int { return s.root.Signed.Roles[role].Threshold }

// binRoles give the bins to the keys of targets, by the newest root.
func (s *State) binRoles() *metadata.Delegations {
	role := s.root.Signed.Roles[metadata.TARGETS]
	keys := map[string]*metadata.Key{}
	for _, id := range role.KeyIDs {
		keys[id] = s.root.Signed.Keys[id]
	}
	return &metadata.Delegations{Keys: keys, SuccinctRoles: &metadata.SuccinctRoles{
		KeyIDs: role.KeyIDs, Threshold: role.Threshold,
		BitLength: bits.Len(uint(s.info.Bins - 1)), NamePrefix: schema.BinPrefix}}
}

// layout says which bin a host is in.
func (s *State) layout(d *metadata.Delegations) bins.Layout { return bins.LayoutOf(d.SuccinctRoles) }

// believedBins returns what reports whether the newest root still trusts the keys that signed a published bin.
func (s *State) believedBins() func(name string) bool {
	// Under the delegation of its time each of them was verified when it was read.
	now := s.binRoles()
	if s.targets == nil || sameJSON(s.targets.Signed.Delegations, now) {
		return func(string) bool { return true }
	}
	var kept []string // ids of keys that are what they were
	for _, id := range now.SuccinctRoles.KeyIDs {
		if was := s.targets.Signed.Delegations.Keys[id]; was != nil && sameJSON(was, now.Keys[id]) {
			kept = append(kept, id)
		}
	}
	return func(name string) bool {
		n := 0
		for _, id := range s.bins[name].Signers {
			if slices.Contains(kept, id) {
				n++
			}
		}
		return n >= max(now.SuccinctRoles.Threshold, 1)
	}
}

// Previous is what the next state follows from.
func (s *State) Previous() Previous {
	p := Previous{Fleet: s.fleet.Name, BinRoles: s.binRoles(), Number: s.number, Assignments: s.assignments,
		Policy: s.policy, Release: s.release, Access: s.access, About: s.about, InBins: map[string]int{},
		MinVersion: s.minVersion}
	if s.targets != nil {
		p.Delegations = s.targets.Signed.Delegations
	}
	for name, b := range s.bins {
		p.InBins[name] = len(b.Hosts)
	}
	return p
}
