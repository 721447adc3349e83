package inventory

import (
	"context"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory/sqldb"
)

// MaxPackages is how many packages are remembered per host, the most recently seen.
const MaxPackages = 8

// Package is a package that a host was given, by its own digest and its manifest's.
type Package struct{ SHA256, Manifest schema.Digest }

// Remember records that the host was given p, and forgets all but its last MaxPackages.
func (d *DB) Remember(ctx context.Context, host string, p Package, at time.Time) error {
	return wrap("remember a package of", host, d.db.Write(ctx, func(tx sqldb.Tx) error {
		err := tx.Exec(ctx, `INSERT INTO packages (host, package, manifest, seen) VALUES ($1,$2,$3,$4)
			ON CONFLICT (host, package) DO UPDATE SET manifest=excluded.manifest, seen=excluded.seen`,
			host, p.SHA256[:], p.Manifest[:], at.UnixNano())
		if err != nil {
			return err
		}
		return tx.Exec(ctx, `DELETE FROM packages WHERE host = $1 AND package NOT IN
			(SELECT package FROM packages WHERE host = $1 ORDER BY seen DESC, package LIMIT $2)`, host, MaxPackages)
	}))
}

// Packages lists the packages that the host was given, newest first.
func (d *DB) Packages(ctx context.Context, host string) (list []Package, err error) {
	const query = "SELECT package, manifest FROM packages WHERE host = $1 ORDER BY seen DESC, package"
	err = d.db.Each(ctx, query, []any{host},
		func(scan func(...any) error) error {
			var sum, manifest []byte
			err := scan(&sum, &manifest)
			var p Package
			if err == nil {
				p.SHA256, err = digest(sum)
			}
			if err == nil {
				p.Manifest, err = digest(manifest)
			}
			list = append(list, p)
			return err
		})
	if err != nil {
		return nil, wrap("list the packages of", host, err)
	}
	return list, nil
}
