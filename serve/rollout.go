package serve

import (
	"context"
	"log/slog"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts/live"
	"bakehouse/serve/origin"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
)

// stepEvery is how often the rollout is looked at.
const stepEvery = 5 * time.Second

// rollouts are the hosts of a fleet, and how far its releases may go to them.
type rollouts struct {
	live     *live.Live
	verdicts *keeper.Keeper
}

// openRollouts reads what is known of releases. It comes before the first one.
func openRollouts(ctx context.Context, i keeper.Store, l *live.Live, count func() *rollout.Census,
	log *slog.Logger) (*rollouts, error) {
	verdicts, err := keeper.New(ctx, i, count, time.Now, log)
	return &rollouts{l, verdicts}, err
}

// publish takes a release that is about to be served.
func (r *rollouts) publish(rel *origin.Release) {
	r.live.Publish(rel)
	// What cannot be judged is held, and tried again: no reason not to serve the rest.
	_ = r.verdicts.Publish(context.Background(), rel.Policy, rel.Hosts)
	r.live.Table.Gates(r.verdicts.Gates())
}

// step brings up to date how far releases may go.
func (r *rollouts) step(ctx context.Context) {
	r.live.Step(ctx)
	_ = r.verdicts.Tick(ctx) // it has said what is wrong
	r.live.Table.Gates(r.verdicts.Gates())
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
