package publish

import (
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema/fleet"
)

// A role is renewed past half of its lifetime, by any run that holds its keys; one that is not is told of. The bins, which
// are all made on one day, fall due over the eighth of their lifetime before that, so that no day renews them all and has
// every host fetch its own.

// binSpread is the part of the bins' lifetime over which they fall due.
const binSpread = 8

// RootNotice is from when before its expiry the newest root is told of: signing a next one takes people and their keys.
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
		return fmt.Sprintf("the root of trust %s on %s: make a next one (bakehouse root next) and have it signed", verb, on)
	case agingBins:
		return fmt.Sprintf("of %d bins that were not renewed the first %s on %s: run reconcile with the keys for targets", a.Count, verb, on)
	}
	return fmt.Sprintf("role %s was not renewed and %s on %s: run reconcile with the keys for %s", a.Role, verb, on, a.Role)
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
	for name, md := range s.bins {
		expires := md.Signed.Expires
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

// signs reports whether p signs the role anew.
func (p *publisher) signs(role string) bool {
	switch role {
	case metadata.TARGETS:
		return p.targets
	case metadata.SNAPSHOT:
		return p.snapshot
	case metadata.TIMESTAMP:
		return p.timestamp
	}
	return slices.Contains(p.bins, role)
}

// due is when the state after this run will first need another, or be told of.
func (p *publisher) due() time.Time {
	life, now := p.s.fleet.Lifetimes, p.d.now
	due := p.s.root.Signed.Expires
	if notice := half(metadata.ROOT, due, life); now.Before(notice) {
		due = notice
	}
	earlier := func(t time.Time) {
		if t.Before(due) {
			due = t
		}
	}
	count := func(role string, expires time.Time, lifetime time.Duration) {
		if p.signs(role) {
			expires = now.Add(lifetime)
		}
		earlier(half(role, expires, life))
	}
	bins := p.d.delegations.SuccinctRoles.GetRoles()
	for i, name := range bins {
		expires := now.Add(life.Targets)
		if md := p.s.bins[name]; md != nil && !p.signs(name) {
			expires = md.Signed.Expires
		}
		earlier(binDue(i, len(bins), expires, life))
	}
	var targets, snapshot, timestamp time.Time // in the first release all are signed
	if p.s.head > 0 {
		targets, snapshot, timestamp = p.s.targets.Signed.Expires, p.s.snapshot.Signed.Expires, p.s.timestamp.Signed.Expires
	}
	count(metadata.TARGETS, targets, life.Targets)
	count(metadata.SNAPSHOT, snapshot, life.Snapshot)
	count(metadata.TIMESTAMP, timestamp, life.Timestamp)
	return due
}
