package serve

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
)

// stepEvery is how often the rollout is looked at.
const stepEvery = 5 * time.Second

// Recorded is what of an inventory a rollout goes by.
type Recorded interface {
	keeper.Store
	// All yields the hosts that are or were registered.
	All(ctx context.Context) iter.Seq2[inventory.Host, error]
}

// rollouts are the hosts of a fleet, and how far its releases may go to them.
type rollouts struct {
	hosts    *hosts.Table
	verdicts *keeper.Keeper
}

// openRollouts reads what is known. It comes before the first release.
func openRollouts(ctx context.Context, i Recorded, log *slog.Logger) (*rollouts, error) {
	r := &rollouts{hosts: hosts.New(nil)}
	for h, err := range i.All(ctx) {
		if err != nil {
			return nil, err
		}
		if h.End.How == "" {
			r.hosts.Load(h.Host, hosts.Registration{At: h.At, User: h.User, Platform: h.Platform, Program: h.Agent},
				h.Seen.At, &h.Seen.Report, time.Time{})
		}
	}
	r.hosts.Loaded()
	var err error
	r.verdicts, err = keeper.New(ctx, i, func() *rollout.Census { return keeper.Count(r.hosts) }, time.Now, log)
	return r, err
}

// publish takes a release that is about to be served.
func (r *rollouts) publish(rel *origin.Release) {
	newest := int64(0)
	for _, a := range rel.Hosts {
		newest = max(newest, a.Release)
	}
	if rel.Info != nil {
		newest = max(newest, rel.Info.Number)
	}
	r.hosts.Publish(rel.Policy, rel.Access.Retirement, rel.Hosts, newest)
	// What cannot be judged is held, and tried again: no reason not to serve the rest.
	_ = r.verdicts.Publish(context.Background(), rel.Policy, rel.Hosts)
	r.hosts.Gates(r.verdicts.Gates())
}

// step brings up to date how far releases may go.
func (r *rollouts) step(ctx context.Context) {
	r.hosts.Tick()
	_ = r.verdicts.Tick(ctx) // it has said what is wrong
	r.hosts.Gates(r.verdicts.Gates())
}

// holdBack puts into the answer to a poll whether the rollout holds the host back, and when it is to ask again.
func (r *rollouts) holdBack(a *schema.PollAnswer, rel *origin.Release, host string, report *schema.Report) {
	assigned := rel.Hosts[host]
	if assigned == nil {
		return
	}
	if h := r.verdicts.Holds(rel.Policy, assigned, report); h != nil {
		a.Hold, a.HoldCode = h.Why, h.Code
	}
	a.Next = int64(r.verdicts.Next(len(rel.Hosts)) / time.Second)
}
