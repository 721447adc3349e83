package metrics

import (
	"time"

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
	t.Begin("bakehouse_attention_hosts", "gauge", "Hosts that need a look, by code of the reason.")
	for _, s := range o.Attention {
		if s.Hosts > 0 {
			t.Add(float64(s.Hosts), "state", string(s.Level), "code", s.Code)
		}
	}
	t.Gauge("bakehouse_attention", "Things that need a person.", float64(len(o.Attention)+o.MoreAttention))
}

// Certificate writes when that of the server expires.
func Certificate(t *Text, expires time.Time) {
	t.Begin("bakehouse_certificate_expiry_timestamp_seconds", "gauge", "When the server's certificate expires.")
	t.Time(expires)
}
