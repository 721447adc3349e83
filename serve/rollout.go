package serve

import (
	"context"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/origin"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
)

// stepEvery is how often the rollout is looked at.
const stepEvery = 5 * time.Second

// openRollout reads what is known of hosts, and how far releases may go. It comes before the first release.
func (s *Server) openRollout(ctx context.Context) (err error) {
	s.hosts = hosts.New(nil)
	for h, err := range s.inventory.All(ctx) {
		if err != nil {
			return err
		}
		if h.End.How == "" {
			s.hosts.Load(h.Host, hosts.Registration{At: h.At, User: h.User, Platform: h.Platform, Program: h.Agent},
				h.Seen.At, &h.Seen.Report, time.Time{})
		}
	}
	s.hosts.Loaded()
	s.rollout, err = keeper.New(ctx, s.inventory, func() *rollout.Census { return keeper.Count(s.hosts) }, time.Now, s.log)
	return err
}

// publish takes a release that is about to be served.
func (s *Server) publish(r *origin.Release) {
	newest := int64(0)
	for _, a := range r.Hosts {
		newest = max(newest, a.Release)
	}
	if r.Info != nil {
		newest = max(newest, r.Info.Number)
	}
	s.hosts.Publish(r.Policy, r.Access.Retirement, r.Hosts, newest)
	// What cannot be judged is held, and tried again: no reason not to serve the rest.
	_ = s.rollout.Publish(context.Background(), r.Policy, r.Hosts)
	s.hosts.Gates(s.rollout.Gates())
}

// stepRollout brings up to date how far releases may go.
func (s *Server) stepRollout(ctx context.Context) {
	s.hosts.Tick()
	_ = s.rollout.Tick(ctx) // it has said what is wrong
	s.hosts.Gates(s.rollout.Gates())
}

// holdBack puts into the answer to a poll whether the rollout holds the host back, and when it is to ask again.
func (s *Server) holdBack(a *schema.PollAnswer, rel *origin.Release, host string, report *schema.Report) {
	assigned := rel.Hosts[host]
	if assigned == nil {
		return
	}
	if h := s.rollout.Holds(rel.Policy, assigned, report); h != nil {
		a.Hold, a.HoldCode = h.Why, h.Code
	}
	a.Next = int64(s.rollout.Next(len(rel.Hosts)) / time.Second)
}
