package inventory

import (
	"context"
	"time"

	"bakehouse/schema"
)

// MaxPackages is how many packages are remembered per host, the most recently seen.
const MaxPackages = 8

// Package is a package that a host was given, by its own digest and its manifest's.
type Package struct{ SHA256, Manifest schema.Digest }

// Remember notes that the host was given p, and forgets all but its last MaxPackages. It does not block: p is written
// with the next reports, and listed from now on.
func (d *DB) Remember(host string, p Package, at time.Time) {
	d.put(host, func(a *aside) { a.given = newestGiven([]given{{p, at}}, a.given) })
}

// Packages lists the packages that the host was given, newest first.
func (d *DB) Packages(ctx context.Context, host string) (list []Package, err error) {
	queued := d.aside(host).given // before the database: what leaves the queue in between is then found there
	var written []given
	const query = "SELECT package, manifest, seen FROM packages WHERE host = $1 ORDER BY seen DESC, package"
	err = d.db.Each(ctx, query, []any{host},
		func(scan func(...any) error) error {
			var sum, manifest []byte
			var seen int64
			err := scan(&sum, &manifest, &seen)
			g := given{at: time.Unix(0, seen)}
			if err == nil {
				g.SHA256, err = digest(sum)
			}
			if err == nil {
				g.Manifest, err = digest(manifest)
			}
			written = append(written, g)
			return err
		})
	for _, g := range newestGiven(queued, written) {
		list = append(list, g.Package)
	}
	if err != nil {
		return nil, wrap("list the packages of", host, err)
	}
	return list, nil
}
