package hosts

import "bakehouse/schema"

// Standing is what of a host counts for a rollout.
type Standing struct {
	Assigned  *schema.Assignment
	State     State
	Code      string
	Target    schema.Digest // that it looked at last, claimed
	Installed schema.Digest // claimed
	Release   int64         // of Installed, claimed
}

// Standings calls do with each host of the fleet. do must not use the table.
func (t *Table) Standings(do func(Standing)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.rows {
		if e.assigned != nil && !e.gone {
			do(Standing{e.assigned, e.verdict, e.why, e.target.Value(), e.installed.Value(), e.release})
		}
	}
}
