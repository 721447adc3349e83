package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
)

// maxStep is the most time that a step counts as watched: what happened while no server looked is not known.
const maxStep = 5 * time.Minute

// Input is what a step goes by.
type Input struct {
	Release int64
	Began   time.Time // signed: since when hosts are given the release
	Rings   []schema.Ring
	Hosts   *Census
	Now     time.Time
}

// Step is the next verdict on a release; before is nil for the first.
func Step(before *Verdict, in Input) *Verdict {
	now := in.Now.UTC()
	v, passed := &Verdict{Release: in.Release, Moved: in.Began.UTC(), At: now}, time.Duration(0)
	if before != nil {
		v = before.clone()
		passed = min(max(now.Sub(v.At), 0), maxStep)
		// A clock that went back must not count the same time twice; one that was in the future counts for nothing.
		if now.After(v.At) || v.At.Sub(now) > maxStep {
			v.At = now
		}
	}
	v.Began = in.Began.UTC()
	rings := make([]Ring, len(in.Rings))
	for i, r := range in.Rings {
		rings[i] = Ring{Name: r.Name}
		if own := v.Ring(r.Name); own != nil {
			rings[i] = *own
		}
		rings[i].NotBefore = v.Began.Add(time.Duration(r.Delay))
		rings[i].Hosts = in.Hosts.Of(r.Name, in.Release)
		rings[i].Forgiven = min(rings[i].Forgiven, rings[i].Hosts.Bad())
	}
	v.Rings = rings
	v.halt(in.Rings, now)
	gated := false
	for i, r := range in.Rings {
		gated = gated || r.Gate != nil
		v.open(i, gated, v.look(i, in.Rings, passed), now)
	}
	return v
}

// halt halts the release if a ring's limit is exceeded.
func (v *Verdict) halt(rings []schema.Ring, now time.Time) {
	for i, r := range rings {
		if r.Halt == nil || v.Halt != nil {
			continue
		}
		t := v.Rings[i].Hosts
		bad, tried := t.Bad()-v.Rings[i].Forgiven, t.Tried()-v.Rings[i].Forgiven
		if bad >= max(1, r.Halt.Hosts) && r.Halt.Failed.Exceeded(bad, tried) {
			v.Moved = now
			v.Halt = &Halt{Ring: r.Name, Since: now, Saw: t, Limit: r.Halt.Failed,
				Text: fmt.Sprintf("%s in ring %s (%s, limit %s)", against(t), r.Name, part(bad, tried),
					share(r.Halt.Failed))}
		}
	}
}

// look brings up to date what is seen before a ring that has a gate and is not open, and reports whether the gate is
// content with it.
func (v *Verdict) look(i int, rings []schema.Ring, passed time.Duration) (content bool) {
	gate, own := rings[i].Gate, &v.Rings[i]
	if gate == nil {
		own.Gate = nil
		return true
	}
	if own.Gate == nil {
		own.Gate = &Gate{}
	}
	if !own.Opened.IsZero() {
		return true // what it saw then stays
	}
	g, names := own.Gate, []string(nil)
	g.Saw = Tally{}
	for j, other := range v.Rings {
		if len(gate.Rings) == 0 && j < i || slices.Contains(gate.Rings, other.Name) {
			names = append(names, other.Name)
			g.Saw = g.Saw.plus(other.Hosts)
		}
	}
	switch met := enough(gate, g.Saw); {
	case met && g.Met:
		g.Watched += schema.Duration(passed)
	default:
		g.Met, g.Watched = met, 0
	}
	content = g.Met && g.Watched >= gate.For || g.Promoted != nil
	g.Text = g.text(gate, content, strings.Join(names, " and "), v.Release)
	return content
}

// enough reports whether so many hosts are well as a gate asks for. Where the release is for none of them there is
// nothing to wait for, unless a number of hosts is asked for.
func enough(g *schema.Gate, t Tally) bool {
	if t.Hosts == 0 {
		return g.Hosts == 0
	}
	return t.Healthy >= max(1, g.Hosts) && g.Healthy.Reached(t.Healthy, t.Counted())
}

// open opens a ring whose time has come, and sets its state. A ring with a gate, or after one that has, waits for the
// ring before it.
func (v *Verdict) open(i int, gated, content bool, now time.Time) {
	own := &v.Rings[i]
	own.State, own.Why = Waiting, ""
	switch {
	case !own.Opened.IsZero():
	case v.Halt != nil:
		own.Why = "release " + count(int(v.Release)) + ", which is halted"
	case gated && i > 0 && v.Rings[i-1].Opened.IsZero():
		own.Why = "ring " + v.Rings[i-1].Name
	case !content:
		own.Why = own.Gate.Text
	case now.Before(own.NotBefore):
		own.Why = "its signed delay, until " + stamp(own.NotBefore)
	default:
		own.Opened = now
		if own.Gate == nil && !gated { // whenever somebody looked
			own.Opened = own.NotBefore
		}
		if own.Opened.After(v.Moved) {
			v.Moved = own.Opened
		}
	}
	switch opened := !own.Opened.IsZero(); {
	case v.Halt != nil && v.Halt.Ring == own.Name:
		own.State, own.Why = Halted, v.Halt.Text
	case opened && own.Hosts.Healthy >= own.Hosts.Counted() && (own.Hosts.Healthy > 0 || own.Hosts.Hosts == 0):
		own.State = Done
	case opened && v.Halt != nil: // its other hosts do not get the release
		own.State, own.Why = Halted, v.Halt.Text
	case opened:
		own.State = Open
	}
}
