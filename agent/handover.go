package agent

import (
	"context"
	"os"

	"bakehouse/agent/handover"
	"bakehouse/agent/state"
	"bakehouse/agent/wire"
	"bakehouse/schema"
)

// handOver makes the host one of the fleet that its package hands it over to, if that can be.
func (a *Agent) handOver(ctx context.Context, h *state.Host) {
	if h.Config == nil || h.Config.Handover == nil || h.Pending != nil {
		return
	}
	to, before, now := h.Config.Handover, h.TrustDir(), a.opts.Now
	err := handover.Host{Host: h, Platform: a.platform, Now: now,
		Stored: func(name string) string { return a.files.Stored(name) },
		Dial:   func(w state.Way) (*wire.Client, error) { return a.dial(h, w, now) },
		Report: func(server string) schema.Report {
			r, _ := a.report(h, server)
			return r
		}}.Follow(ctx)
	if err != nil {
		a.warn("this host is to be handed over to fleet %s, and stays with its own for now: %v", to.Fleet, err)
		return
	}
	a.say("fleet %s, at %s, took this host over", to.Fleet, to.Server)
	if err := os.RemoveAll(a.files.Stored(before)); err != nil {
		a.say("%v", err)
	}
}
