package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"bakehouse/serve/inventory/sqldb"
)

// Report queues the host's last poll and returns at once. The error, if any, is that of an earlier group: its reports
// are lost.
func (d *DB) Report(host string, s Seen) error {
	d.mu.Lock()
	d.queue[host] = s.after(d.queue[host])
	err := d.failed
	d.failed = nil
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default: // a wake is already due, and it will see this report
	}
	return err
}

func (d *DB) run() {
	defer close(d.done)
	for {
		select {
		case <-d.closing:
			return
		case <-d.wake:
		}
		if err := d.flush(); err != nil {
			d.mu.Lock()
			d.failed = err
			d.mu.Unlock()
		}
	}
}

// flush writes the queue. A report stays visible in the queue until it is committed, so that Host never sees the
// older one again; one that came meanwhile stays for the next group.
func (d *DB) flush() error {
	d.mu.Lock()
	group := make(map[string]Seen, len(d.queue))
	for host, s := range d.queue {
		group[host] = s
	}
	d.mu.Unlock()
	if len(group) == 0 {
		return nil
	}
	err := d.writeGroup(group)
	d.mu.Lock()
	defer d.mu.Unlock()
	for host, s := range group {
		if d.queue[host] == s {
			delete(d.queue, host)
		}
	}
	if err != nil {
		return fmt.Errorf("inventory: %d reports: %w", len(group), err)
	}
	return nil
}

var upsertReports = sqldb.Upsert{
	Into: "reports (host, at, timestamp, root, report, details, address)",
	Of:   []string{"TEXT", "INTEGER", "INTEGER", "INTEGER", "TEXT", "TEXT", "TEXT"},
	Then: `ON CONFLICT (host) DO UPDATE SET at=excluded.at, timestamp=excluded.timestamp, root=excluded.root,
		report=excluded.report, details=coalesce(excluded.details, reports.details), address=excluded.address`,
}

func (d *DB) writeGroup(group map[string]Seen) error {
	var rows [][]any
	for _, host := range slices.Sorted(maps.Keys(group)) {
		row, err := reportRow(host, group[host])
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return d.db.Write(context.Background(), func(tx sqldb.Tx) error {
		return tx.Upsert(context.Background(), upsertReports, rows)
	})
}

// reportRow is a row of upsertReports.
func reportRow(host string, s Seen) ([]any, error) {
	var details any
	if d := s.Report.Details; d != nil {
		b, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		details = string(b)
		s.Report.Details = nil // of this copy
	}
	b, err := json.Marshal(s.Report)
	if err != nil {
		return nil, err
	}
	return []any{host, s.At.Unix(), s.Timestamp, s.Root, string(b), details, s.Address}, nil
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
