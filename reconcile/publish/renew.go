package publish

import (
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema/fleet"
)

// A role is renewed past half of its lifetime, by any run that holds its keys; one that is not is reported. The bins,
// which are all made on one day, fall due over the eighth of their lifetime before that, so that no day renews them
// all and has every host fetch its own.

// binSpread is the part of the bins' lifetime over which they fall due.
const binSpread = 8

// RootNotice is from when before its expiry the newest root is reported: signing a next one takes people and their
// keys.
const RootNotice = 60 * 24 * time.Hour

// Aging is a role that is past half of its lifetime, or a root near its end.
type Aging struct {
	Role    string    `json:"role"`            // "bins": all of them
	Count   int       `json:"count,omitempty"` // of bins
	Expires time.Time `json:"expires"`         // the first to
	Expired bool      `json:"expired,omitempty"`
}

func (a Aging) String() string {
	on, verb := a.Expires.UTC().Format(time.DateOnly), "expires"
	if a.Expired {
		verb = "expired"
	}
	switch a.Role {
	case metadata.ROOT:
		return fmt.Sprintf("the root of trust %s on %s: make a next one (bakehouse root next) and have it signed",
			verb, on)
	case agingBins:
		return fmt.Sprintf("of %d bins that were not renewed the first %s on %s: "+
			"run reconcile with the keys for targets", a.Count, verb, on)
	}
	return fmt.Sprintf("role %s was not renewed and %s on %s: run reconcile with the keys for %s",
		a.Role, verb, on, a.Role)
}

const agingBins = "bins"

// half is when a role that expires then is past half of its lifetime.
func half(role string, expires time.Time, life fleet.Lifetimes) time.Time {
	lifetime := life.Targets
	switch role {
	case metadata.SNAPSHOT:
		lifetime = life.Snapshot
	case metadata.TIMESTAMP:
		lifetime = life.Timestamp
	case metadata.ROOT:
		return expires.Add(-RootNotice)
	}
	return expires.Add(-lifetime / 2)
}

// binDue is when the i-th of n bins is to be renewed.
func binDue(i, n int, expires time.Time, life fleet.Lifetimes) time.Time {
	return half(agingBins, expires, life).Add(-life.Targets / binSpread * time.Duration(i) / time.Duration(n))
}

// aging lists the roles that are past half of their lifetime at that time, without those that skip says are renewed.
func (s *State) aging(now time.Time, skip func(role string) bool) []Aging {
	all := []Aging{}
	note := func(role string, expires time.Time) {
		if !now.Before(half(role, expires, s.fleet.Lifetimes)) && !skip(role) {
			all = append(all, Aging{Role: role, Expires: expires, Expired: !now.Before(expires)})
		}
	}
	note(metadata.ROOT, s.root.Signed.Expires)
	if s.head == 0 {
		return all
	}
	note(metadata.TARGETS, s.targets.Signed.Expires)
	bins := Aging{Role: agingBins}
	for name, b := range s.bins {
		expires := b.Expires
		if now.Before(half(name, expires, s.fleet.Lifetimes)) || skip(name) {
			continue
		}
		if bins.Count++; bins.Count == 1 || expires.Before(bins.Expires) {
			bins.Expires, bins.Expired = expires, !now.Before(expires)
		}
	}
	if bins.Count > 0 {
		all = append(all, bins)
	}
	note(metadata.SNAPSHOT, s.snapshot.Signed.Expires)
	note(metadata.TIMESTAMP, s.timestamp.Signed.Expires)
	return all
}

// Aging lists the published roles that are past half of their lifetime, and the root if it expires soon.
func (s *State) Aging() []Aging { return s.aging(s.now, func(string) bool { return false }) }

// signing is which roles a run signs.
type signing struct {
	bins                         []string
	targets, snapshot, timestamp bool
}

// signs reports whether the run signs the role.
func (r *signing) signs(role string) bool {
	switch role {
	case metadata.TARGETS:
		return r.targets
	case metadata.SNAPSHOT:
		return r.snapshot
	case metadata.TIMESTAMP:
		return r.timestamp
	}
	return slices.Contains(r.bins, role)
}

// uses are those of keys that the run needs.
func (r *signing) uses() []string {
	var uses []string
	if r.targets || len(r.bins) > 0 {
		uses = append(uses, fleet.UseTargets)
	}
	if r.snapshot {
		uses = append(uses, fleet.UseSnapshot)
	}
	if r.timestamp {
		uses = append(uses, fleet.UseTimestamp)
	}
	return uses
}

// plan decides which roles are signed: those that say something new, those that the newest root's keys did not sign,
// and those that are due for renewal. After a restore all are, above what hosts have seen. Targets and bins are
// renewed only if renewTargets; otherwise it is left to a run that has their keys.
func (s *State) plan(d *Draft, renewTargets bool) *signing {
	r, life := &signing{}, s.fleet.Lifetimes
	past := func(role string, expires time.Time) bool { return !d.Time.Before(half(role, expires, life)) }
	believed := s.believedBins()
	bins := d.Delegations.SuccinctRoles.GetRoles()
	for i, name := range bins {
		b := s.bins[name]
		if b == nil || s.minVersion > 0 || slices.Contains(d.Dirty, name) || !believed(name) ||
			renewTargets && !d.Time.Before(binDue(i, len(bins), b.Expires, life)) {
			r.bins = append(r.bins, name)
		}
	}
	r.targets = d.Changed || s.minVersion > 0 || !s.believed(metadata.TARGETS) ||
		renewTargets && past(metadata.TARGETS, s.targets.Signed.Expires)
	r.snapshot = r.targets || len(r.bins) > 0 || !s.believed(metadata.SNAPSHOT) ||
		past(metadata.SNAPSHOT, s.snapshot.Signed.Expires)
	// A new root is shown to hosts with the next timestamp: they go from one state to the next, roots included.
	r.timestamp = r.snapshot || s.roots < len(s.fleet.Roots) || !s.believed(metadata.TIMESTAMP) ||
		past(metadata.TIMESTAMP, s.timestamp.Signed.Expires)
	return r
}

// due is when the state after this run will first need another, or be reported.
func (s *State) due(d *Draft, r *signing) time.Time {
	life, now := s.fleet.Lifetimes, d.Time
	due := s.root.Signed.Expires
	if notice := half(metadata.ROOT, due, life); now.Before(notice) {
		due = notice
	}
	earlier := func(t time.Time) {
		if t.Before(due) {
			due = t
		}
	}
	count := func(role string, expires time.Time, lifetime time.Duration) {
		if r.signs(role) {
			expires = now.Add(lifetime)
		}
		earlier(half(role, expires, life))
	}
	bins := d.Delegations.SuccinctRoles.GetRoles()
	for i, name := range bins {
		expires := now.Add(life.Targets)
		if b := s.bins[name]; b != nil && !r.signs(name) {
			expires = b.Expires
		}
		earlier(binDue(i, len(bins), expires, life))
	}
	var targets, snapshot, timestamp time.Time // in the first release all are signed
	if s.head > 0 {
		targets, snapshot, timestamp = s.targets.Signed.Expires, s.snapshot.Signed.Expires, s.timestamp.Signed.Expires
	}
	count(metadata.TARGETS, targets, life.Targets)
	count(metadata.SNAPSHOT, snapshot, life.Snapshot)
	count(metadata.TIMESTAMP, timestamp, life.Timestamp)
	return due
}
