package keeper

import (
	"time"

	"bakehouse/schema"
	"bakehouse/serve/rollout"
)

// skew is by how much a host's clock may be ahead, so that a delay is over for it.
const skew = 15 * time.Minute

// Holds says why a host is held back from what it would install now by what is signed; nil: it is not, or it would
// install nothing. What it would install depends on its clock and on what failed there, which is not all known here: it
// is held if it is from any of that.
func (k *Keeper) Holds(p *schema.Policy, a *schema.Assignment, r *schema.Report) *rollout.Hold {
	standing := schema.Standing{Installed: r.Installed, Release: r.Release}
	failed := standing
	for _, c := range a.Candidates() {
		if c.SHA256 == r.Target && (r.State == schema.StateFailed || r.State == schema.StateRefused) {
			failed.Failed = append(failed.Failed, c.Release)
		}
	}
	now := k.now()
	for _, at := range []time.Time{now, now.Add(skew)} {
		for _, s := range []schema.Standing{standing, failed} {
			if v := p.Decide(a, s, at); v.Install() {
				if h := k.Held(a.Ring, v.Package.Release); h != nil {
					return h
				}
			}
		}
	}
	return nil
}

// While a rollout is under way, hosts are asked to come sooner than their intervals have it: what they report opens the
// next ring or halts the release, and a revert reaches them sooner.
const (
	hurryFor  = 6 * time.Hour // after a ring opened or halted, or somebody acted
	soonest   = time.Minute
	hurryRate = 200 // polls in a second, of the whole fleet
)

// Next is after what time a host of the fleet is to ask again; 0: when its interval is over. A host keeps that bound, a
// minute and a share of chance of its own.
func (k *Keeper) Next(fleet int) time.Duration {
	k.mu.RLock()
	defer k.mu.RUnlock()
	now := k.now()
	for _, v := range k.live {
		if since := now.Sub(v.Moved); since >= 0 && since < hurryFor && v.UnderWay() {
			return max(soonest, time.Duration(fleet/hurryRate)*time.Second)
		}
	}
	return 0
}
