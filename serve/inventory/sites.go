package inventory

import (
	"context"
	"fmt"
	"time"

	"bakehouse/serve/inventory/sqldb"
)

// Site is what the centre last heard of a remote site. Body is JSON.
type Site struct {
	Name string
	At   time.Time
	Body []byte
}

// Sites lists them, by name.
func (d *DB) Sites(ctx context.Context) (list []Site, err error) {
	err = d.db.Each(ctx, "SELECT name, at, body FROM sites ORDER BY name", nil, func(scan func(...any) error) error {
		var s Site
		var at int64
		err := scan(&s.Name, &at, &s.Body)
		s.At = time.Unix(at, 0).UTC()
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("inventory: sites: %w", err)
	}
	return list, nil
}

// Heard records s, unless another server heard of the site later.
func (d *DB) Heard(ctx context.Context, s Site) error {
	err := d.db.Write(ctx, func(tx sqldb.Tx) error {
		return tx.Exec(ctx, `INSERT INTO sites (name, at, body) VALUES ($1,$2,$3) ON CONFLICT (name) DO UPDATE SET
			at=excluded.at, body=excluded.body WHERE sites.at <= excluded.at`, s.Name, s.At.Unix(), s.Body)
	})
	if err != nil {
		return fmt.Errorf("inventory: site %.40q: %w", s.Name, err)
	}
	return nil
}
