package rollout

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
)

// text says what a gate saw, if it is content, or else what it waits for.
func (g *Gate) text(gate *schema.Gate, content bool, rings string, release int64) string {
	t, on := g.Saw, " on release "+count(int(release))
	now := count(t.Healthy) + " of " + count(t.Counted())
	switch {
	case g.Promoted != nil:
		s := "promoted " + g.Promoted.String()
		if t.Hosts > 0 {
			s += "; saw " + now + " hosts of " + rings + " up to date"
		}
		return s
	case content && t.Hosts == 0:
		return "release " + count(int(release)) + " is for no host of " + rings
	case content:
		s := fmt.Sprintf("saw %s hosts of %s up to date (%s, asked for %s)", now, rings, part(t.Healthy, t.Counted()),
			share(gate.Healthy))
		if gate.For > 0 {
			s += fmt.Sprintf(", for %s (asked for %s)", span(time.Duration(g.Watched)), span(time.Duration(gate.For)))
		}
		return s
	case t.Hosts == 0:
		return fmt.Sprintf("%s of %s up to date%s, which is for none of them; it opens by promote or by a release "+
			"that is", hosts(gate.Hosts), rings, on)
	case g.Met:
		return fmt.Sprintf("%s of watching %s (%s so far)", span(time.Duration(gate.For)), rings,
			span(time.Duration(g.Watched)))
	}
	s := share(gate.Healthy) + " of " + rings
	if gate.Hosts > 0 {
		s += ", and at least " + hosts(gate.Hosts) + ","
	}
	s += " up to date" + on + " (" + now + " now"
	if t.Counted() > 0 {
		s += ", " + part(t.Healthy, t.Counted())
	}
	s += ")"
	if t.Bad() > 0 {
		s += "; " + against(t)
	}
	if t.Aside > 0 {
		s += "; " + count(t.Aside) + " more do not count: paused, not selected or not registered"
	}
	if t.Counted() < max(1, gate.Hosts) {
		s += "; that is too few, so it opens by promote alone"
	}
	return s
}

func (a *Act) String() string {
	s := "by " + a.By + " at " + stamp(a.At)
	if a.Reason != "" {
		s += ": " + a.Reason
	}
	return s
}

// against says how many of those that tried a release are against it.
func against(t Tally) string {
	var parts []string
	if t.Failed > 0 {
		parts = append(parts, count(t.Failed)+" of "+count(t.Tried())+" failed")
	}
	if t.Rejected > 0 {
		parts = append(parts, count(t.Rejected)+" of "+count(t.Tried())+" rejected it")
	}
	return strings.Join(parts, " and ")
}

func hosts(n int) string {
	if n == 1 {
		return "1 host"
	}
	return count(n) + " hosts"
}

// count writes a number with a comma at each thousand.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// part is a percentage with one digit, and 100 % for all alone.
func part(n, of int) string {
	switch tenths := (1000*n + of/2) / max(of, 1); {
	case n <= 0:
		return "0 %"
	case n >= of:
		return "100 %"
	case tenths == 0:
		return "< 0.1 %"
	case tenths == 1000:
		return "> 99.9 %"
	case tenths%10 == 0:
		return strconv.Itoa(tenths/10) + " %"
	default:
		return fmt.Sprintf("%d.%d %%", tenths/10, tenths%10)
	}
}

func share(s schema.Share) string { return strings.TrimSuffix(s.String(), "%") + " %" }

// span is a time in one unit.
func span(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < 90*time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 36*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " days"
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
