package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/schema/fault"
)

// Stop halts the release by hand.
func (v *Verdict) Stop(a Act) (*Verdict, error) {
	if v.Halt != nil {
		return nil, fault.Hint(fmt.Errorf("release %d is halted already: %s", v.Release, v.Halt.Text),
			"let it go on with bakehouse rollout resume, or publish another release")
	}
	c := v.clone()
	c.Halt, c.Moved = &Halt{Since: a.At, By: &a, Text: "halted " + a.String()}, a.At
	for i := range c.Rings {
		if r := &c.Rings[i]; r.State == Open {
			r.State, r.Why = Halted, c.Halt.Text
		}
	}
	return c, nil
}

// Resume lets a halted release go on. The hosts that are against it now do not halt it again; others do, by the same
// limits.
func (v *Verdict) Resume(a Act) (*Verdict, error) {
	if v.Halt == nil {
		return nil, fmt.Errorf("release %d is not halted", v.Release)
	}
	c := v.clone()
	c.Halt, c.Moved = nil, a.At
	for i := range c.Rings {
		r := &c.Rings[i]
		r.Forgiven = r.Hosts.Bad()
		if r.State == Halted {
			r.State, r.Why = Open, ""
			if r.Opened.IsZero() {
				r.State = Waiting
			}
		}
	}
	return c, nil
}

// Promote opens the gate of a ring, and those of the rings before it, for this release. It opens no signed delay: those
// of these rings that are not over at the time now are returned.
func (v *Verdict) Promote(ring string, a Act, now time.Time) (next *Verdict, delayed []Ring, err error) {
	at := slices.IndexFunc(v.Rings, func(r Ring) bool { return r.Name == ring })
	if at < 0 {
		names := make([]string, len(v.Rings))
		for i, r := range v.Rings {
			names[i] = r.Name
		}
		return nil, nil, fault.Hint(fmt.Errorf("there is no ring %q", ring), "want one of %s",
			strings.Join(names, ", "))
	}
	if v.Halt != nil {
		return nil, nil, fault.Hint(fmt.Errorf("release %d is halted: %s", v.Release, v.Halt.Text),
			"let it go on first: bakehouse rollout resume")
	}
	c, promoted := v.clone(), false
	for i := range c.Rings[:at+1] {
		r := &c.Rings[i]
		if g := r.Gate; g != nil && g.Promoted == nil && r.Opened.IsZero() {
			g.Promoted, promoted = &a, true
		}
		if now.Before(r.NotBefore) {
			delayed = append(delayed, *r)
		}
	}
	switch {
	case promoted:
		c.Moved = a.At
		return c, delayed, nil
	case len(delayed) > 0:
		return nil, delayed, nil
	case !c.Rings[at].Opened.IsZero():
		return nil, nil, fmt.Errorf("ring %s is open for release %d already", ring, v.Release)
	}
	return nil, nil, errors.New("the gates up to ring " + ring + " are promoted already")
}
