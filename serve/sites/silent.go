package sites

import "time"

// Silence is for how long a centre may not have heard of a site before the site is silent: it polls each few seconds,
// and other servers of the same inventory hear of that within half a minute.
const Silence = 2 * time.Minute

// Silent reports whether the site is, at the time now.
func (c *Contact) Silent(now time.Time) bool { return now.Sub(c.At) > Silence }

// Silent are the silent ones of the sites, with the time when each was last heard of.
func Silent(contacts []Contact, now time.Time) map[string]time.Time {
	silent := map[string]time.Time{}
	for _, c := range contacts {
		if c.Silent(now) {
			silent[c.Name] = c.At
		}
	}
	return silent
}
