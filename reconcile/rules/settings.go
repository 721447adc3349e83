package rules

import (
	"bakehouse/schema/fleet"
)

// Settings is what rules say of one plugin of a host.
type Settings struct {
	Rules  []fleet.Pos         // all that are for the host, the strongest first
	Params map[string]*Setting // those that some rule sets
}

// Settings returns what rules say of each plugin in the host's package. It is computed on each call: a fleet has many
// hosts, and only few of them are asked about.
func (r *Result) Settings() map[string]Settings {
	s := subject{host: r.Host, site: r.Site, platform: r.Platform}
	out := map[string]Settings{}
	for _, plugin := range plugins(r.Host) {
		combined := combinePlugin(r.fleet, s, plugin)
		if !combined.present() {
			continue
		}
		set := Settings{Params: combined.params}
		for _, rule := range combined.rules {
			set.Rules = append(set.Rules, rule.Pos)
		}
		out[plugin] = set
	}
	return out
}

// AttributePos is where the fleet says what the attribute (a fleet.Attr… name) of the host is; no place if it is a
// default.
func (r *Resolved) AttributePos(host *Result, name string) fleet.Pos {
	if s := combineAttributes(host.Host).params[name]; s != nil {
		return s.Pos
	}
	if name == fleet.AttrRing {
		for _, ring := range r.Fleet.Rollout.Rings {
			if ring.Name == host.Ring {
				return ring.Pos
			}
		}
	}
	return fleet.Pos{}
}
