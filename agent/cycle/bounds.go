package cycle

import (
	"slices"

	"bakehouse/schema/plain"
)

const maxNamed = 16 // files that differ

// Bounded is s with each text in it cut and cleaned: what servers, package managers and scripts say is in them.
func (s State) Bounded() State {
	s.Last, s.Installed, s.Previous = s.Last.bounded(), s.Installed.bounded(), s.Previous.bounded()
	s.Before = slices.Clone(s.Before[max(0, len(s.Before)-maxBefore):])
	for i := range s.Before {
		s.Before[i] = *s.Before[i].bounded()
	}
	if s.Pending != nil {
		s.Pending = &Pending{*s.Pending.Installed.bounded(), s.Pending.Attempts}
	}
	s.Failed = slices.Clone(s.Failed[max(0, len(s.Failed)-maxFailed):])
	for i := range s.Failed {
		s.Failed[i].Why = plain.Line(s.Failed[i].Why, plain.MaxError)
	}
	if s.Waiting != nil {
		w := *s.Waiting
		w.Why = plain.Line(w.Why, plain.MaxError)
		s.Waiting = &w
	}
	if s.Drift != nil {
		d := *s.Drift
		d.Version = plain.Name(d.Version)
		d.Files = slices.Clone(d.Files[:min(len(d.Files), maxNamed)])
		for i := range d.Files {
			d.Files[i] = plain.Name(d.Files[i])
		}
		s.Drift = &d
	}
	if s.Paused != nil {
		p := *s.Paused
		p.Reason = plain.Name(p.Reason)
		s.Paused = &p
	}
	s.Sees = boundedSees(s.Sees)
	s.Ailing = slices.Clone(s.Ailing[:min(len(s.Ailing), maxAiling)])
	for i := range s.Ailing {
		s.Ailing[i] = plain.Name(s.Ailing[i])
	}
	if s.Repaired != nil {
		r := *s.Repaired
		r.What = plain.Line(r.What, plain.MaxError)
		s.Repaired = &r
	}
	if s.Withheld != nil {
		w := *s.Withheld
		w.Code = plain.Name(w.Code)
		s.Withheld = &w
	}
	return s
}

func (i *Installed) bounded() *Installed {
	if i == nil {
		return nil
	}
	b := *i
	b.Name, b.Version = plain.Name(i.Name), plain.Name(i.Version)
	return &b
}

func (o Outcome) bounded() Outcome {
	o.State, o.Code = plain.Name(o.State), plain.Name(o.Code)
	o.Why, o.Error = plain.Line(o.Why, plain.MaxError), plain.Line(o.Error, plain.MaxError)
	return o
}
