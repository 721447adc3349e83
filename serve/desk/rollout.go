package desk

import (
	"context"
	"errors"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
)

// Rollout is how far releases may go; *keeper.Keeper is one.
type Rollout interface {
	Act(ctx context.Context, c keeper.Command, by string) (keeper.Result, error)
	Releases() ([]*rollout.Verdict, *rollout.Act)
}

// Rollouts is the state of the rollout: the releases that hosts are given, the newest first.
type Rollouts struct {
	Paused   *rollout.Act       `json:"paused"`
	Releases []*rollout.Verdict `json:"releases"`
}

// Rollouts is how far releases have come, for who may see hosts or act on the rollout.
func (d *Desk) Rollouts(_ context.Context, who audit.Actor) (*Rollouts, error) {
	if !who.Has(schema.PermView) && !who.Has(schema.PermRollout) {
		return nil, denied(who, schema.PermView, "")
	}
	list, pause := d.Rollout.Releases()
	return &Rollouts{pause, append([]*rollout.Verdict{}, list...)}, nil
}

// ActOnRollout does what a command says, for who may do so for each host that it concerns: those of a ring and of the
// rings before it, or all.
func (d *Desk) ActOnRollout(ctx context.Context, who audit.Actor, c keeper.Command) (*keeper.Result, error) {
	if !who.Has(schema.PermRollout) {
		return nil, denied(who, schema.PermRollout, "")
	}
	if rel := d.Release(); rel != nil && who.User != nil {
		last := len(rel.Policy.Rings)
		if c.Verb == keeper.Promote {
			last = slices.IndexFunc(rel.Policy.Rings, func(r schema.Ring) bool { return r.Name == c.Ring })
		}
		for name, a := range rel.Hosts {
			ring := slices.IndexFunc(rel.Policy.Rings, func(r schema.Ring) bool { return r.Name == a.Ring })
			if ring <= last && !who.May(schema.PermRollout, name) {
				return nil, denied(who, schema.PermRollout, name)
			}
		}
	}
	r, err := d.Rollout.Act(ctx, c, who.Name)
	if errors.Is(err, keeper.ErrWrong) {
		err = invalid(err)
	}
	if err != nil {
		return nil, err
	}
	e := event(who, audit.RolloutActed, d.Now())
	e.Detail = c.Verb
	if len(r.Done) > 0 {
		e.Detail += ": " + strings.Join(r.Done, "; ")
	}
	if c.Reason != "" {
		e.Detail += " (" + c.Reason + ")"
	}
	d.Audit.Record(ctx, e)
	return &r, nil
}
