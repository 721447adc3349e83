package inventory

import (
	"context"
	"fmt"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory/sqldb"
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
	err := d.db.Write(ctx, func(tx sqldb.Tx) error { return serve(ctx, tx, s) })
	if err != nil {
		return fmt.Errorf("inventory: served: %w", err)
	}
	return nil
}

func serve(ctx context.Context, tx sqldb.Tx, s Served) error {
	return tx.Exec(ctx, `INSERT INTO served (anchor, timestamp, file, at) VALUES ($1,$2,$3,$4)
		ON CONFLICT (anchor) DO UPDATE SET timestamp=excluded.timestamp, file=excluded.file, at=excluded.at`,
		s.Anchor[:], s.Timestamp, s.File, s.At.Unix())
}

const selectServed = "SELECT anchor, timestamp, file, at FROM served"

// Served is what was served last of the fleet with that first root, or of any for the zero digest; zero if nothing was.
func (d *DB) Served(ctx context.Context, anchor schema.Digest) (s Served, err error) {
	query, args := selectServed, []any(nil)
	if !anchor.IsZero() {
		query, args = query+" WHERE anchor = $1", []any{anchor[:]}
	}
	err = d.db.Each(ctx, query+" ORDER BY at DESC, timestamp DESC LIMIT 1", args,
		func(scan func(...any) error) (err error) {
			s, err = scanServed(scan)
			return err
		})
	if err != nil {
		return Served{}, fmt.Errorf("inventory: served: %w", err)
	}
	return s, nil
}

func scanServed(scan func(...any) error) (s Served, err error) {
	var root []byte
	var at int64
	if err := scan(&root, &s.Timestamp, &s.File, &at); err != nil {
		return s, err
	}
	s.At = time.Unix(at, 0).UTC()
	s.Anchor, err = sqldb.Digest(root)
	return s, err
}
