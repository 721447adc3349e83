package inventory

import (
	"context"
	"time"

	"bakehouse/serve/inventory/sqldb"
)

// MaxMachines is how many machines are remembered per host, those that reported last.
const MaxMachines = 8

// Machine is one that reported with a host's registration. Where there are several, one is a copy, or the host moved.
type Machine struct {
	ID          string // as in schema.Report
	First, Last time.Time
	Address     string // whence it last reported
}

// Meet records that a machine reported as the host, and returns all that did before, the last one first.
func (d *DB) Meet(ctx context.Context, host string, m Machine) (before []Machine, err error) {
	err = d.db.Write(ctx, func(tx sqldb.Tx) (err error) {
		before, err = machinesOf(ctx, tx, host)
		if err != nil {
			return err
		}
		err = tx.Exec(ctx, `INSERT INTO machines (host, machine, first, last, address) VALUES ($1,$2,$3,$3,$4)
			ON CONFLICT (host, machine) DO UPDATE SET last=excluded.last, address=excluded.address`,
			host, m.ID, m.Last.UnixNano(), m.Address)
		if err != nil {
			return err
		}
		return tx.Exec(ctx, `DELETE FROM machines WHERE host = $1 AND machine NOT IN
			(SELECT machine FROM machines WHERE host = $1 ORDER BY last DESC, machine = $2 DESC LIMIT $3)`,
			host, m.ID, MaxMachines)
	})
	return before, wrap("note the machine of", host, err)
}

// Machines lists those that reported as the host, the last one first.
func (d *DB) Machines(ctx context.Context, host string) (list []Machine, err error) {
	list, err = machinesOf(ctx, d.db, host)
	return list, wrap("list the machines of", host, err)
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
