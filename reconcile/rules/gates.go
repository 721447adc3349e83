package rules

import (
	"fmt"
	"slices"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// closed warns of gates of rings that cannot open by themselves, or too late.
func (r *resolver) closed(res *Resolved) (ps fleet.Problems) {
	hosts, before := map[string]int{}, []string(nil)
	for _, h := range res.Hosts {
		hosts[h.Ring]++
	}
	rollout := r.fleet.Rollout
	for _, ring := range rollout.Rings {
		g := ring.Gate
		if g == nil {
			g = &schema.Gate{}
		}
		looked := g.Rings
		if looked == nil {
			looked = slices.Clone(before)
		}
		have := 0
		for _, name := range looked {
			have += hosts[name]
		}
		warn := func(format string, args ...any) {
			ps = append(ps, fleet.Problem{Pos: ring.Pos,
				Msg: "the gate of ring " + ring.Name + " " + fmt.Sprintf(format, args...)})
		}
		if g.Hosts > have {
			warn("asks for %d hosts, and %d are in the rings that it looks at: it opens by bakehouse rollout promote "+
				"alone", g.Hosts, have)
		}
		if most := rollout.MaxHold; g.For > 0 && most > 0 && g.For >= most {
			warn("takes %s, and maxHold is %s: hosts report themselves critical before it opens", g.For, most)
		}
		before = append(before, ring.Name)
	}
	return ps
}
