package inventory

import (
	"context"
	"io/fs"

	"bakehouse/serve/inventory/sqldb"
)

// End ends a host's registration, durably. One that ended before stays as it is, and an unknown host is an error that
// wraps fs.ErrNotExist.
func (d *DB) End(ctx context.Context, host string, e End) error {
	return wrap("end the registration of", host, d.db.Write(ctx, func(tx sqldb.Tx) error {
		n, err := tx.Change(ctx, `UPDATE hosts SET
			ended_by = CASE ended WHEN '' THEN $3 ELSE ended_by END,
			ended_at = CASE ended WHEN '' THEN $4 ELSE ended_at END,
			ended = CASE ended WHEN '' THEN $2 ELSE ended END WHERE name = $1`, host, e.How, e.By, e.At.Unix())
		if err == nil && n == 0 {
			err = fs.ErrNotExist
		}
		if err == nil {
			_, err = note(ctx, tx, []string{host}, nil)
		}
		return err
	}))
}

// Forget drops a host's registration and all that is known of it, durably. An unknown host is an error that wraps
// fs.ErrNotExist.
func (d *DB) Forget(ctx context.Context, host string) error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	d.asides.Drop(host)
	d.mu.Lock()
	delete(d.queue, host)
	d.mu.Unlock()
	return wrap("forget", host, d.db.Write(ctx, func(tx sqldb.Tx) error {
		known := int64(0)
		for _, statement := range []string{"DELETE FROM hosts WHERE name = $1", "DELETE FROM reports WHERE host = $1",
			"DELETE FROM packages WHERE host = $1", "DELETE FROM machines WHERE host = $1",
			"DELETE FROM past WHERE host = $1"} {
			n, err := tx.Change(ctx, statement, host)
			if err != nil {
				return err
			}
			known += n
		}
		if known == 0 {
			return fs.ErrNotExist
		}
		_, err := note(ctx, tx, []string{host}, nil)
		return err
	}))
}
