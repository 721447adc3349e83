package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"bakehouse/serve/inventory/sqldb"
)

// How long reports are gathered for a transaction, a failed one is left alone, and times of polls are kept in memory.
const (
	gatherFor  = 50 * time.Millisecond
	retryAfter = time.Second
	lookEach   = 500 * time.Millisecond
	polledEach = time.Minute
)

// FoldAfter is how many rows with times of polls are folded into one.
const FoldAfter = 20

// Report queues the host's last poll and returns at once. The error, if any, is that of an earlier group, which stays
// queued and is tried again: a database that is away for a while loses nothing.
func (d *DB) Report(host string, s Seen) error {
	d.mu.Lock()
	d.queue[host] = s.after(d.queue[host])
	err := d.failed
	d.failed = nil
	d.mu.Unlock()
	d.stir()
	return err
}

// stir has what is queued written soon.
func (d *DB) stir() {
	select {
	case d.wake <- struct{}{}:
	default: // a wake is already due, and it will see what is queued now
	}
}

func (d *DB) flushAsides(ctx context.Context) error {
	if err := d.asides.Flush(ctx, d.db); err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	return nil
}

func (d *DB) run() {
	defer close(d.done)
	look := time.NewTicker(lookEach)
	defer look.Stop()
	polled := time.NewTicker(polledEach)
	defer polled.Stop()
	for {
		var err error
		pause := gatherFor
		select {
		case <-d.closing:
			return
		case <-d.wake:
			err = d.Flush(context.Background())
		case <-look.C:
			err = d.look(context.Background())
		case <-polled.C:
			err = d.FlushPolled(context.Background())
		}
		if err != nil {
			d.mu.Lock()
			d.failed = err
			d.mu.Unlock()
			pause = retryAfter
		}
		select {
		case <-d.closing:
			return
		case <-time.After(pause):
		}
	}
}

// look writes what could not be written, and asks what other servers wrote of hosts that polled here without news.
func (d *DB) look(ctx context.Context) error {
	d.mu.Lock()
	queued, doubts := len(d.queue)+d.asides.Len(), len(d.doubts)
	d.mu.Unlock()
	if doubts > 0 {
		if err := d.catchUp(ctx, d.db); err != nil {
			return fmt.Errorf("inventory: changes: %w", err)
		}
	}
	if queued == 0 && doubts == 0 {
		return nil
	}
	return d.Flush(ctx)
}

// Flush writes what is news of what is queued. A report stays visible in the queue until it is committed, so that Host
// never sees the older one again; one that came meanwhile stays for the next group.
func (d *DB) Flush(ctx context.Context) error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	return errors.Join(d.flushReports(ctx), d.flushAsides(ctx))
}

func (d *DB) flushReports(ctx context.Context) error {
	d.mu.Lock()
	group := maps.Clone(d.queue)
	d.mu.Unlock()
	if len(group) == 0 {
		return nil
	}
	news, idle, err := d.sort(ctx, group)
	var number int64
	if err == nil && len(news) > 0 {
		number, err = d.write(ctx, group, news)
	}
	if err != nil {
		return fmt.Errorf("inventory: %d reports: %w", len(group), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if number > 0 {
		d.own[number] = true
	}
	for host, e := range news {
		before := d.memory[host]
		if e.details == "" {
			e.memo.details = before.details
		}
		e.memo.registered = before.registered
		d.memory[host] = e.memo
		delete(d.doubts, host)
	}
	now := time.Now()
	for host, e := range idle {
		m := d.memory[host]
		m.polled, m.pending = e.memo.at, true
		d.memory[host] = m
		d.doubts[host] = doubt{group[host], now}
	}
	for host, s := range group {
		if d.queue[host] == s {
			delete(d.queue, host)
		}
	}
	return nil
}

// sort tells reports that are news from those that are not.
func (d *DB) sort(ctx context.Context, group map[string]Seen) (news, idle map[string]entry, err error) {
	if err := d.catchUp(ctx, d.db); err != nil {
		return nil, nil, err
	}
	unknown := map[string]bool{}
	d.mu.Lock()
	for host := range group {
		if !d.memory[host].known {
			unknown[host] = true
		}
	}
	d.mu.Unlock()
	if err := d.recall(ctx, unknown); err != nil {
		return nil, nil, err
	}
	news, idle = map[string]entry{}, map[string]entry{}
	for host, s := range group {
		e, err := newEntry(s)
		if err != nil {
			return nil, nil, err
		}
		d.mu.Lock()
		m := d.memory[host]
		d.mu.Unlock()
		if m.news(e) {
			news[host] = e
		} else {
			idle[host] = e
		}
	}
	return news, idle, nil
}

// recall remembers reports that are in the database.
func (d *DB) recall(ctx context.Context, unknown map[string]bool) error {
	for names := range chunks(unknown) {
		err := d.eachHost(ctx, d.db, " WHERE name IN ("+d.db.Items("$1")+")", []any{sqldb.List(names)},
			func(h *Host) error {
				e, err := newEntry(h.Seen)
				d.mu.Lock()
				defer d.mu.Unlock()
				before := d.memory[h.Host]
				e.memo.known = !h.Seen.At.IsZero()
				e.memo.registered = h.At.Unix()
				e.memo.pending = before.pending
				if before.polled != 0 {
					e.memo.polled = before.polled
				}
				d.memory[h.Host] = e.memo
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

var upsertReports = sqldb.Upsert{
	Into: "reports (host, at, timestamp, root, report, details, address)",
	Of:   []string{"TEXT", "INTEGER", "INTEGER", "INTEGER", "TEXT", "TEXT", "TEXT"},
	Then: `ON CONFLICT (host) DO UPDATE SET at=excluded.at, timestamp=excluded.timestamp, root=excluded.root,
		report=excluded.report, details=coalesce(excluded.details, reports.details), address=excluded.address`,
}

// row is a row of upsertReports.
func (e entry) row(host string, s Seen) ([]any, error) {
	var details any
	if e.details != "" {
		details = e.details
	}
	s.Report.Details = nil // of this copy
	b, err := json.Marshal(s.Report)
	return []any{host, e.memo.at, s.Timestamp, s.Root, string(b), details, s.Address}, err
}

// write writes the news of a group in one transaction.
func (d *DB) write(ctx context.Context, group map[string]Seen, news map[string]entry) (number int64, err error) {
	hosts := slices.Sorted(maps.Keys(news))
	rows := make([][]any, len(hosts))
	polled := make(map[string]int64, len(hosts))
	for i, host := range hosts {
		if rows[i], err = news[host].row(host, group[host]); err != nil {
			return 0, err
		}
		polled[host] = news[host].memo.at
	}
	err = d.db.Write(ctx, func(tx sqldb.Tx) error {
		err := tx.Upsert(ctx, upsertReports, rows)
		if err == nil {
			number, err = note(ctx, tx, hosts, polled)
		}
		return err
	})
	return number, err
}

// FlushPolled writes when hosts polled without news.
func (d *DB) FlushPolled(ctx context.Context) error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	polled := map[string]int64{}
	d.mu.Lock()
	for host, m := range d.memory {
		if m.pending {
			polled[host] = m.polled
		}
	}
	d.mu.Unlock()
	if len(polled) == 0 {
		return nil
	}
	var number int64
	err := d.db.Write(ctx, func(tx sqldb.Tx) (err error) {
		number, err = note(ctx, tx, nil, polled)
		if err == nil {
			err = fold(ctx, tx)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("inventory: times of %d polls: %w", len(polled), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.own[number] = true
	for host, at := range polled {
		if m := d.memory[host]; m.polled == at {
			m.pending = false
			d.memory[host] = m
		}
	}
	return nil
}

// fold puts the times of polls into one row, if there are many, and drops what every server has read.
func fold(ctx context.Context, tx sqldb.Tx) error {
	var rows, last, folded int64
	var packed []byte
	if err := tx.Get(ctx, "SELECT number, polled FROM folded WHERE id = 1", nil, &folded, &packed); err != nil {
		return err
	}
	err := tx.Get(ctx, "SELECT count(*), coalesce(max(number), 0) FROM changes WHERE number > $1 AND hosts = ''",
		[]any{folded}, &rows, &last)
	if err != nil || rows < FoldAfter {
		return err
	}
	polled, err := unpack(packed)
	if err != nil {
		return err
	}
	changed, _, err := changesAfter(ctx, tx, folded)
	if err != nil {
		return err
	}
	all := map[string]int64{}
	maps.Copy(all, polled)
	for _, c := range changed {
		for host, at := range c.polled {
			if len(c.hosts) > 0 || at > all[host] {
				all[host] = at
			}
		}
	}
	known := make(map[string]int64, len(all))
	err = tx.Each(ctx, "SELECT name FROM hosts", nil, func(scan func(...any) error) error {
		var host string
		err := scan(&host)
		if at, ok := all[host]; ok {
			known[host] = at
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := tx.Exec(ctx, "UPDATE folded SET number = $1, polled = $2 WHERE id = 1", last, pack(known)); err != nil {
		return err
	}
	return tx.Exec(ctx, "DELETE FROM changes WHERE number <= $1", folded)
}

// Ahead lists the hosts that claim a higher timestamp version than that, the highest first, at most limit; of each only
// name, time and versions.
func (d *DB) Ahead(ctx context.Context, of int64, limit int) (ahead []Host, err error) {
	err = d.db.Each(ctx, `SELECT host, at, timestamp, root FROM reports WHERE timestamp > $1
		ORDER BY timestamp DESC, host LIMIT $2`, []any{of, limit}, func(scan func(...any) error) error {
		var h Host
		var at int64
		err := scan(&h.Host, &at, &h.Seen.Timestamp, &h.Seen.Root)
		h.Seen.At = time.Unix(at, 0).UTC()
		ahead = append(ahead, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	return ahead, nil
}
