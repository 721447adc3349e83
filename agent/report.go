package agent

import (
	"encoding/json"
	"time"

	"bakehouse/agent/report"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/plain"
)

// repeatDetails is how long the details of a report stay unsent when they have not changed: a server whose inventory
// was restored from a backup has older ones.
const repeatDetails = 24 * time.Hour

// report is what the host says of itself to server, and what it will have told once that is delivered.
func (a *Agent) report(h *state.Host, server string) (schema.Report, *state.Reported) {
	now := a.opts.Now().UTC().Truncate(time.Second)
	r := schema.Report{
		Agent: a.opts.Version, Platform: a.platform, State: h.Last.State, Code: h.Last.Code,
		Error: plain.Line(h.Last.Error, plain.MaxError), Target: h.Last.Target,
		Downloaded: h.Last.Downloaded, Fetched: h.Fetched,
		LastCheck: h.LastCheck, LastUpdate: h.LastUpdate, NextCheck: now.Add(h.Interval()), Machine: h.Machine(),
	}
	if r.State == "" {
		r.State = schema.StateNew
	}
	if w := h.Withheld; w != nil {
		r.HeldSince, r.Critical = w.Since, w.Critical(now) != ""
	}
	if i := h.Installed; i != nil && (h.Drift == nil || h.Drift.Version == "") {
		r.Installed, r.Recipe, r.Release = i.Package, i.Recipe, i.Release
	}
	d := a.details(h)
	b, err := json.Marshal(d)
	if err != nil {
		return r, h.Reported // a date that cannot be written
	}
	sent := &state.Reported{Server: server, Details: schema.DigestOf(b), At: now}
	if old := h.Reported; old != nil && old.Server == server && old.Details == sent.Details &&
		!now.Before(old.At) && now.Sub(old.At) < repeatDetails {
		return r, old
	}
	r.Details = d
	return r, sent
}

func (a *Agent) details(h *state.Host) *schema.Details {
	d := &schema.Details{Interval: int64(h.Interval() / time.Second), Snapshot: h.Snapshot, Bin: h.Bin,
		Ignored: h.Ignored, LogTail: h.LogTail}
	if _, keys, threshold, err := h.Trusted(); err == nil {
		judged, _ := report.Keys(keys, threshold, h.Config, a.opts.Now()) // what its error says is on the status page
		for _, k := range judged[:min(len(judged), schema.MaxKeys)] {
			d.Keys = append(d.Keys, k.KeyState)
		}
	}
	if p := h.Previous; p != nil {
		d.Previous = p.Package
	}
	if p := h.Paused; p != nil && !p.Ended(a.opts.Now()) {
		d.Paused = p
	}
	d.Stopped = h.Stopped[:min(len(h.Stopped), schema.MaxStopped)]
	switch {
	case h.Drift != nil:
		d.Drift = plain.Line(h.Drift.String(), schema.MaxDrift)
	case h.Repaired != nil:
		d.Drift, d.Repaired = plain.Line(h.Repaired.What, schema.MaxDrift), h.Repaired.At
	}
	return d
}
