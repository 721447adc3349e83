package hosts

import (
	"time"

	"bakehouse/schema"
)

// Learn takes what the inventory says of a host, which knows whole seconds, unless something later is known: another
// server may have written it.
func (t *Table) Learn(host string, r Registration, seen time.Time, report *schema.Report) {
	t.mu.Lock()
	e := t.names[host]
	newer := e == nil || e.registered == 0 || timeOf(e.registered).Unix() < r.At.Unix()
	polled := !seen.IsZero() && (e == nil || e.seen == 0 || timeOf(e.seen).Unix() <= seen.Unix())
	if polled && e != nil && timeOf(e.seen).After(seen) {
		seen = timeOf(e.seen)
	}
	t.mu.Unlock()
	if newer {
		t.Register(host, r)
	}
	if polled {
		t.Poll(host, seen, report)
	}
}

// Saw takes that a host polled at another server, and that its report is as before.
func (t *Table) Saw(host string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.names[host]
	if e == nil || e.registered == 0 || e.seen == 0 || e.seen >= nanos(at) {
		return
	}
	e.seen = nanos(at)
	// Its time in the heap may be too early, which is found out then.
	if e.verdict == Overdue || e.verdict == NotKnown {
		t.settle(e, t.now(), true)
	}
}
