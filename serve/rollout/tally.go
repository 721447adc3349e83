package rollout

import "bakehouse/schema"

// Kind is how a host counts.
type Kind int

// Kinds of hosts. None is against a release but Failed and Rejected.
const (
	Pending  Kind = iota // it has not come so far, or is not well, or silent: nothing is known in its favour
	Healthy              // what it runs is well there
	Failed               // it tried a release and failed
	Rejected             // it tried a release, and something did not verify
	Aside                // it does not take part: paused, not selected, not registered
)

// Host is a host of a ring.
type Host struct {
	Kind   Kind
	Newest int64 // release that signed metadata give it
	Runs   int64 // release that it runs, among those that it was given; 0: none of them
	Tried  int64 // release that it failed at or rejected
}

// Tally counts the hosts of a ring, or of some, to whom a release or a later one gives a package.
type Tally struct {
	Hosts    int `json:"hosts"`
	Healthy  int `json:"healthy"`  // run it and are well
	Failed   int `json:"failed"`   // at this release, and no other
	Rejected int `json:"rejected"` // likewise
	Aside    int `json:"aside"`    // do not count
}

// Counted is how many hosts count.
func (t Tally) Counted() int { return t.Hosts - t.Aside }

// Bad is how many hosts are against the release.
func (t Tally) Bad() int { return t.Failed + t.Rejected }

// Tried is how many hosts have come to an end with the release.
func (t Tally) Tried() int { return t.Healthy + t.Bad() }

func (t Tally) plus(o Tally) Tally {
	return Tally{t.Hosts + o.Hosts, t.Healthy + o.Healthy, t.Failed + o.Failed, t.Rejected + o.Rejected,
		t.Aside + o.Aside}
}

// Census is the hosts of a fleet as they count for its releases. The zero value has none.
type Census struct{ rings map[string]*ring }

// ring counts hosts by release, of which there are few.
type ring struct{ newest, healthy, aside, passed, failed, rejected map[int64]int }

// Add counts a host of a ring.
func (c *Census) Add(name string, h Host) {
	r := c.rings[name]
	if r == nil {
		r = &ring{map[int64]int{}, map[int64]int{}, map[int64]int{}, map[int64]int{}, map[int64]int{}, map[int64]int{}}
		if c.rings == nil {
			c.rings = map[string]*ring{}
		}
		c.rings[name] = r
	}
	r.newest[h.Newest]++
	switch h.Kind {
	case Healthy:
		r.healthy[h.Runs]++
	case Failed:
		r.failed[h.Tried]++
	case Rejected:
		r.rejected[h.Tried]++
	case Aside: // for what it does not run already
		r.aside[h.Newest]++
		r.passed[h.Runs]++
	}
}

// Of counts the hosts of a ring for a release.
func (c *Census) Of(name string, release int64) Tally {
	r := c.rings[name]
	if r == nil {
		return Tally{}
	}
	passed := since(r.passed, release)
	return Tally{Hosts: since(r.newest, release), Healthy: since(r.healthy, release) + passed,
		Failed: r.failed[release], Rejected: r.rejected[release], Aside: since(r.aside, release) - passed}
}

func since(by map[int64]int, release int64) (n int) {
	for r, hosts := range by {
		if r >= release {
			n += hosts
		}
	}
	return n
}

// Gated reports whether any of the rings has a gate or a limit: else servers hold nothing back.
func Gated(rings []schema.Ring) bool {
	for _, r := range rings {
		if r.Gate != nil || r.Halt != nil {
			return true
		}
	}
	return false
}
