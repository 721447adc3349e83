package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Selection says whether a host gets updates by the fleet's own word, and which condition decides.
type Selection struct {
	Host       string      `json:"host"`
	Updates    bool        `json:"updates"`
	Code       string      `json:"code"` // of schema.Decide, or "retired"
	Why        string      `json:"why"`
	Ring       string      `json:"ring,omitempty"`
	Conditions []Condition `json:"conditions"` // of rollout.select, all of which must hold; none: every host is selected
}

// Condition is one part of a condition, and whether it holds for the host.
type Condition struct {
	What  string `json:"what"`
	Holds bool   `json:"holds"`
}

// Select decides for one host as the host itself will, by schema's Decide. What only a server or the host's own past
// can add (a closed gate, a release that failed there) is not known here.
func Select(f *fleet.Fleet, host string) (*Selection, error) {
	i := slices.IndexFunc(f.Hosts, func(h *fleet.Host) bool { return h.Name == host })
	if i < 0 {
		return nil, fmt.Errorf("host %.80q: %w", host, ErrNoHost)
	}
	h := f.Hosts[i]
	if h.Retired {
		return &Selection{Host: host, Code: "retired", Why: "host " + host + " is retired: no package is published for it"},
			nil
	}
	r := newResolver(f, nil)
	res := r.attributes(h)
	if res == nil {
		return nil, r.ps.Sorted()
	}
	policy := schema.Policy{Enabled: f.Rollout.Enabled}
	for _, ring := range f.Rollout.Rings {
		policy.Rings = append(policy.Rings, ring.Ring)
	}
	// A package that is long published: the delay of a ring puts an update off, it does not refuse it.
	long := time.Unix(0, 0)
	given := &schema.Assignment{Host: host, SHA256: schema.DigestOf(nil),
		Target: schema.Target{Selected: res.Selected, Ring: res.Ring, Release: 1, Since: long}}
	verdict := policy.Decide(given, schema.Standing{}, long.AddDate(1000, 0, 0))
	s := &Selection{Host: host, Updates: verdict.Install(), Code: verdict.Code, Why: verdict.Why, Ring: res.Ring,
		Conditions: subject{host: h, site: res.Site, platform: res.Platform}.parts(&f.Rollout.Select)}
	if s.Updates {
		s.Why = "it is selected and in ring " + res.Ring
	}
	return s, nil
}

// parts takes a condition apart into what is ANDed, and says of each part whether it holds.
func (s subject) parts(w *fleet.When) (out []Condition) {
	add := func(set bool, what string, part fleet.When) {
		if set {
			out = append(out, Condition{what, s.matches(&part)})
		}
	}
	add(w.Hosts != nil, "hosts", fleet.When{Hosts: w.Hosts})
	for _, key := range slices.Sorted(maps.Keys(w.Labels)) {
		add(true, "label "+key, fleet.When{Labels: map[string]fleet.Match{key: w.Labels[key]}})
	}
	for _, key := range slices.Sorted(maps.Keys(w.Tags)) {
		add(true, "tag "+key, fleet.When{Tags: map[string]fleet.Match{key: w.Tags[key]}})
	}
	add(w.Folder != nil, "folder", fleet.When{Folder: w.Folder})
	add(w.Site != nil, "site", fleet.When{Site: w.Site})
	add(w.Platform != nil, "platform", fleet.When{Platform: w.Platform})
	if w.Named != nil {
		var names []string
		for _, c := range w.Named.Conditions {
			names = append(names, c.Name)
		}
		add(true, "condition "+strings.Join(names, ", "), fleet.When{Named: w.Named})
	}
	add(w.Any != nil, "any", fleet.When{Any: w.Any})
	add(w.All != nil, "all", fleet.When{All: w.All})
	add(w.Not != nil, "not", fleet.When{Not: w.Not})
	return out
}
