package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"bakehouse/schema"
)

// Served is the newest timestamp that a server has handed out of the fleet with that first root. What hosts claim to
// have verified is not counted: any of them could make up a number.
type Served struct {
	Anchor    schema.Digest // of the first root
	Timestamp int64
	File      []byte // the timestamp
	At        time.Time
}

// Serve records s in the place of what was served before. It is durable when it returns nil.
func (d *DB) Serve(ctx context.Context, s Served) error {
	_, err := d.write.ExecContext(ctx, `INSERT INTO served (anchor, timestamp, file, at) VALUES (?,?,?,?)
		ON CONFLICT (anchor) DO UPDATE SET timestamp=excluded.timestamp, file=excluded.file, at=excluded.at`,
		s.Anchor[:], s.Timestamp, s.File, s.At.Unix())
	if err != nil {
		return fmt.Errorf("inventory: served: %w", err)
	}
	return nil
}

// Served is what was served last of the fleet with that first root, or of any for the zero digest; zero if nothing was.
func (d *DB) Served(ctx context.Context, anchor schema.Digest) (s Served, err error) {
	var root []byte
	var at int64
	err = d.read.QueryRowContext(ctx, `SELECT anchor, timestamp, file, at FROM served WHERE anchor = ?1 OR ?2
		ORDER BY at DESC, timestamp DESC LIMIT 1`, anchor[:], anchor.IsZero()).Scan(&root, &s.Timestamp, &s.File, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Served{}, nil
	}
	if err == nil {
		s.Anchor, err = digest(root)
	}
	if err != nil {
		return Served{}, fmt.Errorf("inventory: served: %w", err)
	}
	s.At = time.Unix(at, 0).UTC()
	return s, nil
}

// Rename moves all that is known of a host to its new name, durably. It does nothing if the new name is registered, or
// the old one is not.
func (d *DB) Rename(ctx context.Context, was, now string) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return wrap("rename", was, err)
	}
	defer tx.Rollback()
	var registered int
	err = tx.QueryRowContext(ctx, "SELECT count(*) FROM hosts WHERE name = ?", now).Scan(&registered)
	if err != nil || registered > 0 {
		return wrap("rename", was, err)
	}
	for _, statement := range []string{
		"UPDATE hosts SET name = ?2 WHERE name = ?1",
		"UPDATE OR REPLACE reports SET host = ?2 WHERE host = ?1",
		"UPDATE OR REPLACE packages SET host = ?2 WHERE host = ?1",
		"UPDATE OR REPLACE machines SET host = ?2 WHERE host = ?1",
	} {
		if _, err := tx.ExecContext(ctx, statement, was, now); err != nil {
			return wrap("rename", was, err)
		}
	}
	return wrap("rename", was, tx.Commit())
}
