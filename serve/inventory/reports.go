package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// groupTimeout bounds one transaction of reports; a disk that hangs must not hang the shutdown.
const groupTimeout = 20 * time.Second

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

func (d *DB) writeGroup(group map[string]Seen) error {
	ctx, cancel := context.WithTimeout(context.Background(), groupTimeout)
	defer cancel()
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO reports (host, at, timestamp, root, report, details, address)
		VALUES (?,?,?,?,?,?,?) ON CONFLICT (host) DO UPDATE SET at=excluded.at, timestamp=excluded.timestamp,
		root=excluded.root, report=excluded.report, details=coalesce(excluded.details, reports.details),
		address=excluded.address`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for host, s := range group {
		if err := writeReport(ctx, stmt, host, s); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func writeReport(ctx context.Context, stmt *sql.Stmt, host string, s Seen) error {
	var details sql.NullString
	if d := s.Report.Details; d != nil {
		b, err := json.Marshal(d)
		if err != nil {
			return err
		}
		details = sql.NullString{String: string(b), Valid: true}
		s.Report.Details = nil // of this copy
	}
	b, err := json.Marshal(s.Report)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(ctx, host, s.At.Unix(), s.Timestamp, s.Root, string(b), details, s.Address)
	return err
}

// Ahead lists the hosts that claim a higher timestamp version than that, the highest first, at most limit; of each only
// name, time and versions.
func (d *DB) Ahead(ctx context.Context, of int64, limit int) ([]Host, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT host, at, timestamp, root FROM reports WHERE timestamp > ?
		ORDER BY timestamp DESC, host LIMIT ?`, of, limit)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	var ahead []Host
	for rows.Next() {
		var h Host
		var at int64
		if err := rows.Scan(&h.Host, &at, &h.Seen.Timestamp, &h.Seen.Root); err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		h.Seen.At = time.Unix(at, 0).UTC()
		ahead = append(ahead, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	return ahead, nil
}
