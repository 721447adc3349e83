package rules

import (
	"maps"
	"slices"

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

// FilePos is where the host is given the file: in a rule, if one names the path, or else in the plugin.
func (r *Resolved) FilePos(host *Result, file string) fleet.Pos {
	s := subject{host: host.Host, site: host.Site, platform: host.Platform}
	for _, o := range host.Recipe.Outputs {
		for _, f := range o.Files {
			if f.Path == file {
				return combinePlugin(r.Fleet, s, o.Plugin).fieldPos(file, f.Pos)
			}
		}
	}
	return fleet.Pos{}
}

// fieldPos is where a rule has a field of that name in a struct, or other.
func (s *combined) fieldPos(name string, other fleet.Pos) fleet.Pos {
	for _, param := range slices.Sorted(maps.Keys(s.params)) {
		for _, f := range s.params[param].Fields {
			if f.Name == name && !f.Pos.IsZero() {
				return f.Pos
			}
		}
	}
	return other
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
