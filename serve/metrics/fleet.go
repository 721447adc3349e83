package metrics

import (
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/origin"
	"bakehouse/serve/view"
)

// Fleet writes how a fleet stands: o is what its overview shows, cells are its hosts, rel is what is served.
func Fleet(t *Text, o *view.Overview, cells []hosts.Cell, rel *origin.Release) {
	t.Begin("bakehouse_build_info", "gauge", "Which program this is.")
	t.Add(1, "version", o.Server)
	t.Begin("bakehouse_hosts", "gauge", "Hosts, by state, ring and installed release (none: nothing of the fleet's).")
	for _, c := range cells {
		t.Add(float64(c.Hosts), "state", string(c.State), "ring", c.Ring, "release", c.Release)
	}
	t.Begin("bakehouse_ring_open", "gauge", "Whether the newest release may go to a ring.")
	for _, r := range o.Rings {
		if r.Name != "" {
			t.Add(Truth(r.State == view.RingOpen || r.State == view.RingDone), "ring", r.Name)
		}
	}
	t.Begin("bakehouse_ring_halted", "gauge", "Whether the newest release is halted at a ring.")
	for _, r := range o.Rings {
		if r.Name != "" {
			t.Add(Truth(r.State == view.RingHalted), "ring", r.Name)
		}
	}
	gates(t, o.Rings, rel.Policy.Rings)
	newest := 0.0
	if rel.Info != nil {
		newest = float64(rel.Info.Number)
	}
	t.Gauge("bakehouse_release", "Number of the newest release.", newest)
	t.Gauge("bakehouse_updates_enabled", "The master switch.", Truth(!o.Off))
	t.Gauge("bakehouse_store_head_served", "Whether the store's newest state is what is served.",
		Truth(o.Trouble == ""))
	t.Begin("bakehouse_metadata_version", "gauge", "Versions of the signed metadata that are served.")
	t.Add(float64(rel.Root), "role", "root")
	t.Add(float64(rel.Timestamp), "role", "timestamp")
	t.Begin("bakehouse_metadata_expiry_timestamp_seconds", "gauge", "When signed metadata expire.")
	t.Time(rel.Expires, "role", "timestamp")
	t.Begin("bakehouse_key_expiry_timestamp_seconds", "gauge", "When keys of the fleet end, by name.")
	if rel.About != nil {
		for _, k := range rel.About.Keys {
			if k.Retired.IsZero() {
				t.Time(k.Expires, "key", k.Name)
			}
		}
	}
	sites(t, o.Sites)
	t.Begin("bakehouse_attention_hosts", "gauge", "Hosts that need a look, by code of the reason.")
	for _, s := range o.Attention {
		if s.Hosts > 0 {
			t.Add(float64(s.Hosts), "state", string(s.Level), "code", s.Code)
		}
	}
	t.Gauge("bakehouse_attention", "Things that need a person.", float64(len(o.Attention)+o.MoreAttention))
}

// gates writes what the gates of rings saw, and what they and the halts of rings ask for.
func gates(t *Text, rings []view.Ring, signed []schema.Ring) {
	t.Begin("bakehouse_gate_hosts", "gauge", "Hosts that the gate of a ring counts for the newest release, and of "+
		"them those that are healthy on it, failed or rejected it.")
	for _, r := range rings {
		if r.Gate != nil && r.Gate.Saw != nil {
			s := r.Gate.Saw
			for _, c := range []struct {
				counted string
				hosts   int
			}{{"all", s.Hosts}, {"healthy", s.Healthy}, {"failed", s.Failed}, {"rejected", s.Rejected}} {
				t.Add(float64(c.hosts), "ring", r.Name, "counted", c.counted)
			}
		}
	}
	limits := func(name, help string, of func(schema.Ring) (float64, bool)) {
		t.Begin(name, "gauge", help)
		for _, r := range signed {
			if v, ok := of(r); ok {
				t.Add(v, "ring", r.Name)
			}
		}
	}
	limits("bakehouse_gate_healthy_ratio", "Share of healthy hosts that the gate of a ring asks for.",
		func(r schema.Ring) (float64, bool) {
			if r.Gate == nil {
				return 0, false
			}
			return float64(r.Gate.Healthy) / float64(schema.Whole), true
		})
	limits("bakehouse_gate_least_hosts", "Healthy hosts that the gate of a ring asks for, at least.",
		func(r schema.Ring) (float64, bool) {
			if r.Gate == nil {
				return 0, false
			}
			return float64(r.Gate.Hosts), true
		})
	limits("bakehouse_halt_failed_ratio", "Share of failed hosts of a ring above which a release is halted.",
		func(r schema.Ring) (float64, bool) {
			if r.Halt == nil {
				return 0, false
			}
			return float64(r.Halt.Failed) / float64(schema.Whole), true
		})
}

// sites writes how remote sites stand, and the hosts of each site.
func sites(t *Text, list []view.Site) {
	t.Begin("bakehouse_site_hosts", "gauge", "Hosts of a site, by state.")
	for _, s := range list {
		for _, c := range s.Tally.States {
			t.Add(float64(c.Hosts), "site", s.Name, "state", string(c.State))
		}
	}
	each := func(name, help string, value func(*view.Site) (float64, bool)) {
		t.Begin(name, "gauge", help)
		for i := range list {
			if v, ok := value(&list[i]); ok && !list[i].Central {
				t.Add(v, "site", list[i].Name)
			}
		}
	}
	each("bakehouse_site_contact_timestamp_seconds", "When a remote site was last heard of; 0: never.",
		func(s *view.Site) (float64, bool) {
			if s.Contact.IsZero() {
				return 0, true
			}
			return float64(s.Contact.Unix()), true
		})
	each("bakehouse_site_silent", "Whether a remote site is not heard of any more: its hosts are not known.",
		func(s *view.Site) (float64, bool) { return Truth(s.Silent), true })
	each("bakehouse_site_metadata_version", "The timestamp that a remote site serves.",
		func(s *view.Site) (float64, bool) { return float64(s.Timestamp), s.Timestamp > 0 })
	each("bakehouse_site_reports_waiting", "Reports of hosts that a remote site has not passed on.",
		func(s *view.Site) (float64, bool) {
			if s.Reports == nil {
				return 0, false
			}
			return float64(*s.Reports), true
		})
	cache := func(get func(*view.Cache) int64) func(*view.Site) (float64, bool) {
		return func(s *view.Site) (float64, bool) {
			if s.Cache == nil {
				return 0, false
			}
			return float64(get(s.Cache)), true
		}
	}
	each("bakehouse_site_cache_bytes", "What a remote site keeps for its hosts.",
		cache(func(c *view.Cache) int64 { return c.Bytes }))
	each("bakehouse_site_cache_limit_bytes", "How much a remote site may keep.",
		cache(func(c *view.Cache) int64 { return c.Limit }))
	each("bakehouse_site_cache_hits", "Objects that a remote site had, since it started.",
		cache(func(c *view.Cache) int64 { return c.Hits }))
	each("bakehouse_site_cache_misses", "Objects that a remote site fetched, since it started.",
		cache(func(c *view.Cache) int64 { return c.Misses }))
}

// Certificate writes when that of the server expires.
func Certificate(t *Text, expires time.Time) {
	t.Begin("bakehouse_certificate_expiry_timestamp_seconds", "gauge", "When the server's certificate expires.")
	t.Time(expires)
}
