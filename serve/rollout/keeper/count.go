package keeper

import (
	"slices"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
	"bakehouse/serve/hosts"
	"bakehouse/serve/rollout"
)

// Count counts the hosts of a table.
func Count(t *hosts.Table) *rollout.Census {
	c := &rollout.Census{}
	t.Standings(func(s hosts.Standing) { c.Add(s.Assigned.Ring, host(s)) })
	return c
}

// coming are the codes of hosts that wait for nothing but the rollout itself.
var coming = []string{schema.CodeWaiting, schema.CodeInstall, hosts.CodeNew, rollout.CodeGate, rollout.CodeHalted,
	rollout.CodePaused}

// host is how one counts. What it claims to run counts as that if it was given it.
func host(s hosts.Standing) rollout.Host {
	h := rollout.Host{Newest: s.Assigned.Release, Runs: s.Release}
	given := s.Assigned.Candidates()
	if i := slices.IndexFunc(given, func(c schema.Candidate) bool { return c.SHA256 == s.Installed }); i >= 0 {
		h.Runs = given[i].Release
	} else if h.Runs >= given[len(given)-1].Release {
		h.Runs = 0 // that release gave it another package
	}
	for _, c := range given {
		if c.SHA256 == s.Target {
			h.Tried = c.Release
			break
		}
	}
	switch s.State {
	case hosts.Failed:
		h.Kind = rollout.Failed
	case hosts.Rejected:
		h.Kind = rollout.Rejected
		if h.Tried == 0 || s.Target == s.Installed { // it does not get as far as to look at a package
			h.Tried = h.Newest
		}
	case hosts.UpToDate, hosts.Updating:
		h.Kind = rollout.Healthy // on what it runs
	case hosts.Unregistered:
		h.Kind = rollout.Aside
	case hosts.Waiting:
		if h.Kind = rollout.Aside; slices.Contains(coming, s.Code) {
			h.Kind = rollout.Healthy
		}
		if s.Code == outcome.CodeDrift { // what it runs is not what came
			h.Runs = 0
		}
	}
	return h
}
