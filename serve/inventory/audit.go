package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"bakehouse/serve/inventory/sqldb"
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
	MaxAge    = 400 * 24 * time.Hour
	Pruned    = 256 // appended events, about, between two looks at what to drop
)

// Append adds events to the audit log, durably, and drops what is too old or too much.
func (d *DB) Append(ctx context.Context, events ...Event) error {
	err := d.db.Write(ctx, func(tx sqldb.Tx) error {
		for _, e := range events {
			if err := appendEvent(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("inventory: audit: %w", err)
	}
	return nil
}

func appendEvent(ctx context.Context, tx sqldb.Tx, e Event) error {
	e.Seq, e.At = 0, e.At.UTC()
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var seq int64
	err = tx.Get(ctx, `INSERT INTO audit (seq, at, event) SELECT coalesce(max(seq), 0) + 1, $1, $2 FROM audit
		RETURNING seq`, []any{e.At.Unix(), string(b)}, &seq)
	if err != nil || seq%Pruned != 0 {
		return err
	}
	return tx.Exec(ctx, "DELETE FROM audit WHERE seq <= $1 OR at < $2", seq-MaxEvents, e.At.Add(-MaxAge).Unix())
}

// Events lists the audit log since a time, at most the last limit events, the oldest of them first.
func (d *DB) Events(ctx context.Context, since time.Time, limit int) (list []Event, err error) {
	const query = `SELECT seq, event FROM
		(SELECT seq, event FROM audit WHERE at >= $1 ORDER BY seq DESC LIMIT $2) AS last ORDER BY seq`
	err = d.db.Each(ctx, query, []any{since.Unix(), limit}, func(scan func(...any) error) error {
		var seq int64
		var text string
		if err := scan(&seq, &text); err != nil {
			return err
		}
		var e Event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return err
		}
		e.Seq = seq
		list = append(list, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("inventory: audit: %w", err)
	}
	return list, nil
}
