package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Event is a line of the audit log: who did what to which, from where. It has no secrets.
type Event struct {
	Seq    int64     `json:"seq,omitempty"` // given by the inventory, rising
	At     time.Time `json:"at"`
	What   string    `json:"what"`           // such as registered; see package serve/audit
	Who    string    `json:"who"`            // a user, "token ID", "host NAME", or "@NAME" for a user of the machine
	From   string    `json:"from,omitempty"` // address
	Host   string    `json:"host,omitempty"`
	Token  string    `json:"token,omitempty"` // ID of a join token
	Detail string    `json:"detail,omitempty"`
	Count  int       `json:"count,omitempty"` // how many such events one line stands for, if more than one
}

// What is kept of the audit log. The log beside it, of --audit-log, is not bounded.
const (
	MaxEvents = 200_000
	maxAge    = 400 * 24 * time.Hour
	pruned    = 256 // appended events, about, between two looks at what to drop
)

const audit = `
CREATE TABLE audit (
	seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at);`

// Append adds events to the audit log, durably, and drops what is too old or too much.
func (d *DB) Append(ctx context.Context, events ...Event) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("inventory: audit: %w", err)
	}
	defer tx.Rollback()
	for _, e := range events {
		at := e.At
		e.Seq, e.At = 0, e.At.UTC()
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, "INSERT INTO audit (at, event) VALUES (?,?)", at.Unix(), string(b))
		if err != nil {
			return fmt.Errorf("inventory: audit: %w", err)
		}
		seq, err := r.LastInsertId()
		if err != nil {
			return fmt.Errorf("inventory: audit: %w", err)
		}
		if seq%pruned != 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM audit WHERE seq <= ? OR at < ?", seq-MaxEvents,
			at.Add(-maxAge).Unix()); err != nil {
			return fmt.Errorf("inventory: audit: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("inventory: audit: %w", err)
	}
	return nil
}

// Events lists the audit log since a time, at most the last limit events, the oldest of them first.
func (d *DB) Events(ctx context.Context, since time.Time, limit int) ([]Event, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT seq, event FROM
		(SELECT seq, event FROM audit WHERE at >= ? ORDER BY seq DESC LIMIT ?) ORDER BY seq`, since.Unix(), limit)
	if err != nil {
		return nil, fmt.Errorf("inventory: audit: %w", err)
	}
	defer rows.Close()
	var list []Event
	for rows.Next() {
		var seq int64
		var text string
		if err := rows.Scan(&seq, &text); err != nil {
			return nil, fmt.Errorf("inventory: audit: %w", err)
		}
		var e Event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return nil, fmt.Errorf("inventory: audit: %w", err)
		}
		e.Seq = seq
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("inventory: audit: %w", err)
	}
	return list, nil
}
