package inventory

import (
	"context"
	"time"

	"bakehouse/serve/inventory/sqldb"
)

// MaxMachines is how many machines are remembered per host, those that reported last.
const MaxMachines = MaxPackages

// Machine is one that reported with a host's registration. Where there are several, one is a copy, or the host moved.
type Machine struct {
	ID          string // as in schema.Report
	First, Last time.Time
	Address     string // whence it last reported
}

// Meet notes that a machine reported as the host, and returns all that did before, the last one first. It is written
// with the next reports.
func (d *DB) Meet(ctx context.Context, host string, m Machine) (before []Machine, err error) {
	before, err = d.Machines(ctx, host)
	m.First, m.Last = m.Last.UTC(), m.Last.UTC()
	for _, b := range before {
		if b.ID == m.ID {
			m.First = b.First
		}
	}
	if err == nil {
		d.put(host, func(a *aside) { a.met = newestMet([]Machine{m}, a.met) })
	}
	return before, err
}

// Machines lists those that reported as the host, the last one first.
func (d *DB) Machines(ctx context.Context, host string) (list []Machine, err error) {
	queued := d.aside(host).met // before the database, as in Packages
	written, err := machinesOf(ctx, d.db, host)
	return newestMet(queued, written), wrap("list the machines of", host, err)
}

func machinesOf(ctx context.Context, db sqldb.Asker, host string) (list []Machine, err error) {
	const query = "SELECT machine, first, last, address FROM machines WHERE host = $1 ORDER BY last DESC, machine"
	err = db.Each(ctx, query, []any{host}, func(scan func(...any) error) error {
		var m Machine
		var first, last int64
		err := scan(&m.ID, &first, &last, &m.Address)
		m.First, m.Last = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
		list = append(list, m)
		return err
	})
	return list, err
}
