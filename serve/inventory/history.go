package inventory

import (
	"context"
	"fmt"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory/sqldb"
)

// MaxPast is how many changes are kept of a host, the last ones.
const MaxPast = 20

// Past is that a host's state or installed release became another one.
type Past struct {
	Host    string
	At      time.Time
	State   string
	Code    string
	Release int64 // installed; 0: none
	Text    string
}

// AddPast records changes, durably, in their order; one that says the same as the last of its host does not count, so
// that several servers may tell of it.
func (d *DB) AddPast(ctx context.Context, changes ...Past) error {
	err := d.db.Write(ctx, func(tx sqldb.Tx) error {
		for _, c := range changes {
			n, err := tx.Change(ctx, `INSERT INTO past (host, at, state, code, release, words)
				SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM past WHERE host = $1 AND state = $3 AND
				code = $4 AND release = $5 AND at = (SELECT max(at) FROM past WHERE host = $1))
				ON CONFLICT (host, at) DO UPDATE SET state=excluded.state, code=excluded.code, release=excluded.release,
				words=excluded.words`, c.Host, c.At.UnixNano(), c.State, c.Code, c.Release, c.Text)
			if err == nil && n > 0 {
				_, err = tx.Change(ctx, `DELETE FROM past WHERE host = $1 AND at <= (SELECT at FROM past WHERE host = $1
					ORDER BY at DESC LIMIT 1 OFFSET $2)`, c.Host, int64(MaxPast))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("inventory: changes of hosts: %w", err)
	}
	return nil
}

// PastOf lists the changes of a host, the last one first.
func (d *DB) PastOf(ctx context.Context, host string) (list []Past, err error) {
	err = d.db.Each(ctx, "SELECT at, state, code, release, words FROM past WHERE host = $1 ORDER BY at DESC",
		[]any{host}, func(scan func(...any) error) error {
			c := Past{Host: host}
			var at int64
			err := scan(&at, &c.State, &c.Code, &c.Release, &c.Text)
			c.At = time.Unix(0, at).UTC()
			list = append(list, c)
			return err
		})
	return list, wrap("list the changes of", host, err)
}

// LastPast are the last change of each host that has one.
func (d *DB) LastPast(ctx context.Context) (map[string]Past, error) {
	last := map[string]Past{}
	err := d.db.Each(ctx, `SELECT host, at, state, code, release FROM past c WHERE at = (SELECT max(at) FROM past
		WHERE host = c.host)`, nil, func(scan func(...any) error) error {
		var c Past
		var at int64
		err := scan(&c.Host, &at, &c.State, &c.Code, &c.Release)
		c.At = time.Unix(0, at).UTC()
		last[c.Host] = c
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("inventory: changes of hosts: %w", err)
	}
	return last, nil
}

// Point is how many hosts were up to date with the newest release at a time.
type Point struct {
	At           time.Time
	Release      int64
	Hosts, Total int
}

// Points are kept for MaxPoints.
const MaxPoints = 14 * 24 * time.Hour

// AddPoint records p, durably, in the place of one of the same second, and drops those that are older than MaxPoints.
func (d *DB) AddPoint(ctx context.Context, p Point) error {
	err := d.db.Write(ctx, func(tx sqldb.Tx) error {
		err := tx.Exec(ctx,
			`INSERT INTO points (at, release, hosts, total) VALUES ($1,$2,$3,$4) ON CONFLICT (at) DO UPDATE
			SET release=excluded.release, hosts=excluded.hosts, total=excluded.total`,
			p.At.Unix(), p.Release, int64(p.Hosts), int64(p.Total))
		if err != nil {
			return err
		}
		return tx.Exec(ctx, "DELETE FROM points WHERE at < $1", p.At.Add(-MaxPoints).Unix())
	})
	if err != nil {
		return fmt.Errorf("inventory: counts of hosts: %w", err)
	}
	return nil
}

// Points lists all, the oldest first.
func (d *DB) Points(ctx context.Context) (list []Point, err error) {
	err = d.db.Each(ctx, "SELECT at, release, hosts, total FROM points ORDER BY at", nil,
		func(scan func(...any) error) error {
			var p Point
			var at int64
			err := scan(&at, &p.Release, &p.Hosts, &p.Total)
			p.At = time.Unix(at, 0).UTC()
			list = append(list, p)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("inventory: counts of hosts: %w", err)
	}
	return list, nil
}

// Manifests are those of all packages that hosts were given, as far as that is remembered.
func (d *DB) Manifests(ctx context.Context) (map[schema.Digest]schema.Digest, error) {
	m := map[schema.Digest]schema.Digest{}
	err := d.db.Each(ctx, "SELECT DISTINCT package, manifest FROM packages", nil, func(scan func(...any) error) error {
		var sum, manifest []byte
		err := scan(&sum, &manifest)
		var of schema.Digest
		if err == nil {
			of, err = sqldb.Digest(sum)
		}
		if err == nil {
			m[of], err = sqldb.Digest(manifest)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("inventory: packages of hosts: %w", err)
	}
	return m, nil
}
