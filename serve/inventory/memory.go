package inventory

import (
	"maps"
	"time"
)

// ahead adds a report that is still queued.
func (d *DB) ahead(h *Host) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if queued, ok := d.queue[h.Host]; ok {
		h.Seen = queued.after(h.Seen)
	}
}

// recollect sets when a host polled last, which the database tells of its reports alone. When it checks moves along.
func (d *DB) recollect(h *Host) {
	d.mu.Lock()
	m := d.memory[h.Host]
	d.mu.Unlock()
	if m.polled == 0 || h.Seen.At.IsZero() {
		return
	}
	at := time.Unix(m.polled, 0).UTC()
	passed := at.Sub(h.Seen.At)
	h.Seen.At = at
	for _, t := range []*time.Time{&h.Seen.Report.LastCheck, &h.Seen.Report.NextCheck} {
		if !t.IsZero() {
			*t = t.Add(passed)
		}
	}
}

// moved is when a host polled, under its new name.
func (d *DB) moved(was, now string) map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.memory[was]; m.polled != 0 {
		return map[string]int64{now: m.polled}
	}
	return nil
}

// forgetAll starts the memory with when hosts polled, and what of that is not written yet.
func (d *DB) forgetAll(polled map[string]int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.memory
	d.memory = make(map[string]memo, len(polled))
	for host, at := range polled {
		d.memory[host] = memo{polled: at}
	}
	for host, m := range before {
		if m.pending {
			d.memory[host] = memo{polled: max(m.polled, polled[host]), pending: true}
		}
	}
}

// absorb takes over what a row of changes says, unless this server wrote it.
func (d *DB) absorb(c change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own[c.number] {
		delete(d.own, c.number)
		return
	}
	for _, host := range c.hosts {
		m := d.memory[host]
		m.known = false
		at, reported := c.polled[host]
		if reported {
			m.polled, m.pending = at, false
		}
		d.memory[host] = m
		doubted, ok := d.doubts[host]
		if _, newer := d.queue[host]; ok && !newer && at <= doubted.seen.At.Unix() {
			d.queue[host] = doubted.seen
		}
		delete(d.doubts, host)
	}
	if len(c.hosts) > 0 {
		return
	}
	for host, at := range c.polled {
		if m := d.memory[host]; at > m.polled {
			m.polled, m.pending = at, false
			d.memory[host] = m
		}
	}
}

// settle ends old doubts.
func (d *DB) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.doubts, func(_ string, x doubt) bool { return time.Since(x.since) > doubted })
}
