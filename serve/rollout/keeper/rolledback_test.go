package keeper

import (
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
	"bakehouse/serve/hosts"
	"bakehouse/serve/rollout"
)

// Somebody at a host has a reason of their own: the release need not be ill.
func TestAHostThatSomebodyRolledBackDoesNotCountAgainstAGate(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	sum := func(b byte) schema.Digest { return schema.DigestOf([]byte{b}) }
	for name, c := range map[string]struct {
		report schema.Report
		want   rollout.Kind
	}{
		"rolled back manually": {schema.Report{State: schema.StateHeld, Code: outcome.CodeRolledBack}, rollout.Aside},
		"failed and rolled back": {schema.Report{State: schema.StateFailed, Code: schema.CodeFailed, Error: "ill"},
			rollout.Failed},
	} {
		table := hosts.New(func() time.Time { return now })
		table.Publish(&schema.Policy{Enabled: true, Rings: []schema.Ring{{Name: "all"}}}, nil,
			map[string]*schema.Assignment{"web01": {Host: "web01", SHA256: sum(2), Target: schema.Target{Ring: "all",
				Selected: true, Release: 2, Since: now.Add(-time.Hour), Older: []schema.Candidate{{SHA256: sum(1),
					Release: 1, Since: now.Add(-2 * time.Hour)}}}}}, 2)
		table.Register("web01", hosts.Registration{At: now.Add(-time.Hour)})
		c.report.Installed, c.report.Target, c.report.Release = sum(1), sum(2), 1
		table.Poll("web01", now, &c.report)
		table.Standings(func(s hosts.Standing) {
			if got := host(s); got.Kind != c.want {
				t.Errorf("%s: it counts as %v, state %s, code %s", name, got.Kind, s.State, s.Code)
			}
		})
	}
}
