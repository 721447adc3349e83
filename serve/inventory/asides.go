package inventory

import (
	"context"
	"slices"
	"time"

	"bakehouse/serve/inventory/aside"
)

// What hosts bring beside their reports.
type (
	Package = aside.Package
	Machine = aside.Machine
)

// MaxPackages is how many packages are remembered per host, the most recently seen, and MaxMachines how many machines.
const (
	MaxPackages = aside.Max
	MaxMachines = aside.Max
)

// Remember notes that the host was given p, unless it is listed already, and forgets all but its last MaxPackages. It
// is written with the next reports, and listed from now on.
func (d *DB) Remember(ctx context.Context, host string, p Package, at time.Time) error {
	if d.asides.Gave(host, p) {
		return nil
	}
	list, err := d.Packages(ctx, host)
	if err != nil {
		return err
	}
	if !slices.Contains(list, p) {
		d.asides.Give(host, p, at)
		d.stir()
	}
	d.asides.Know(host, p)
	return nil
}

// Packages lists the packages that the host was given, newest first.
func (d *DB) Packages(ctx context.Context, host string) ([]Package, error) {
	list, err := d.asides.Packages(ctx, d.db, host)
	return list, wrap("list the packages of", host, err)
}

// Meet notes that a machine reported as the host, and returns all that did before, the last one first. It is written
// with the next reports.
func (d *DB) Meet(ctx context.Context, host string, m Machine) (before []Machine, err error) {
	if before, err = d.Machines(ctx, host); err != nil {
		return nil, err
	}
	m.First, m.Last = m.Last.UTC(), m.Last.UTC()
	for _, b := range before {
		if b.ID == m.ID {
			m.First = b.First
		}
	}
	d.asides.Meet(host, m)
	d.stir()
	return before, nil
}

// Machines lists those that reported as the host, the last one first.
func (d *DB) Machines(ctx context.Context, host string) ([]Machine, error) {
	list, err := d.asides.Machines(ctx, d.db, host)
	return list, wrap("list the machines of", host, err)
}
