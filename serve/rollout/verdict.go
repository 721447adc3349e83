package rollout

import (
	"slices"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// States of a ring.
const (
	Waiting = "waiting"
	Open    = "open"
	Done    = "done" // open, and all of its hosts that count have the release
	Halted  = "halted"
)

// Verdict is how far a release may go.
type Verdict struct {
	Release int64     `json:"release"`
	Began   time.Time `json:"began"` // signed: since when hosts are given it
	At      time.Time `json:"at"`    // of the last step
	Moved   time.Time `json:"moved"` // when a ring opened or halted last, or somebody acted
	Rings   []Ring    `json:"rings"` // in the order of the policy
	Halt    *Halt     `json:"halt,omitempty"`
}

// Ring is the verdict on a ring.
type Ring struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`         // Waiting, Open, Done or Halted
	Why       string    `json:"why,omitempty"` // what it waits for, or why it is halted; no full stop
	NotBefore time.Time `json:"notBefore"`     // the end of its signed delay
	Opened    time.Time `json:"opened,omitzero"`
	Hosts     Tally     `json:"hosts"` // of the ring itself
	Gate      *Gate     `json:"gate,omitempty"`
	Forgiven  int       `json:"forgiven,omitempty"` // hosts that were against the release when it was resumed
}

// Gate is what was seen before a ring, when it opened or at the last step.
type Gate struct {
	Saw      Tally           `json:"saw"`
	Met      bool            `json:"met"`     // enough of them are well
	Watched  schema.Duration `json:"watched"` // for how long, without a break
	Promoted *Act            `json:"promoted,omitempty"`
	Text     string          `json:"text"` // what it saw, against what was asked for; no full stop
}

// Halt is why a release goes no further.
type Halt struct {
	Ring  string       `json:"ring,omitempty"` // whose limit was exceeded; empty: somebody halted the release
	Since time.Time    `json:"since"`
	Saw   Tally        `json:"saw,omitzero"`
	Limit schema.Share `json:"limit,omitempty"`
	By    *Act         `json:"by,omitempty"`
	Text  string       `json:"text"` // what was seen, against which limit, or who said so; no full stop
}

// Act is what somebody did.
type Act struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Ring is the verdict on a ring; nil: there is none.
func (v *Verdict) Ring(name string) *Ring {
	if v == nil {
		return nil
	}
	if i := slices.IndexFunc(v.Rings, func(r Ring) bool { return r.Name == name }); i >= 0 {
		return &v.Rings[i]
	}
	return nil
}

// Done reports whether all rings have the release.
func (v *Verdict) Done() bool {
	return !slices.ContainsFunc(v.Rings, func(r Ring) bool { return r.State != Done })
}

// UnderWay reports whether hosts that count are still to get the release, or a ring is.
func (v *Verdict) UnderWay() bool {
	return slices.ContainsFunc(v.Rings, func(r Ring) bool {
		return r.Hosts.Healthy < r.Hosts.Counted() || r.Opened.IsZero() && r.Hosts.Hosts > 0
	})
}

// clone is a copy that shares nothing that is written to.
func (v *Verdict) clone() *Verdict {
	c := *v
	c.Rings = slices.Clone(v.Rings)
	for i, r := range c.Rings {
		if r.Gate != nil {
			g := *r.Gate
			c.Rings[i].Gate = &g
		}
	}
	return &c
}

// Codes of holds, which polls carry and hosts report.
const (
	CodeGate   = outcome.CodeGate        // the ring is not open
	CodeHalted = outcome.CodeHalted      // the release is
	CodePaused = outcome.CodeHeldRollout // the whole rollout is
)

// Hold is why a host is held back from a release.
type Hold struct {
	Code  string
	Why   string
	Since time.Time // zero: not known
}

// Held says why the hosts of a ring are held back from a release, by the verdict on it. pause is that of the whole
// rollout; nil: it is not paused. Where no ring has a gate or a limit, only what somebody did holds.
func Held(rings []schema.Ring, name string, release int64, v *Verdict, pause *Act) *Hold {
	switch {
	case pause != nil:
		return &Hold{CodePaused, "the rollout is paused " + pause.String(), pause.At}
	case v != nil && v.Halt != nil:
		return &Hold{CodeHalted, "release " + count(int(release)) + " is halted: " + v.Halt.Text, v.Halt.Since}
	case !Gated(rings):
		return nil
	case v == nil:
		return &Hold{Code: CodeGate, Why: "there is no verdict on release " + count(int(release)) + " yet"}
	}
	for _, r := range rings {
		if r.Gate != nil {
			own := v.Ring(name)
			switch {
			case own == nil:
				return &Hold{Code: CodeGate, Why: "there is no verdict on ring " + name + " yet"}
			case own.Opened.IsZero():
				return &Hold{CodeGate, "ring " + name + " waits for " + own.Why, v.Began}
			}
			return nil
		}
		if r.Name == name {
			return nil // no gate is before it
		}
	}
	return nil
}
