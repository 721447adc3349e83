package inventory

import (
	"context"
	"time"
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
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, wrap("note the machine of", host, err)
	}
	defer tx.Rollback()
	rows, err := tx.QueryContext(ctx,
		"SELECT machine, first, last, address FROM machines WHERE host = ? ORDER BY last DESC, machine", host)
	if err != nil {
		return nil, wrap("note the machine of", host, err)
	}
	defer rows.Close()
	for rows.Next() {
		var b Machine
		var first, last int64
		if err := rows.Scan(&b.ID, &first, &last, &b.Address); err != nil {
			return nil, wrap("note the machine of", host, err)
		}
		b.First, b.Last = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
		before = append(before, b)
	}
	if err := rows.Err(); err != nil {
		return nil, wrap("note the machine of", host, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO machines (host, machine, first, last, address) VALUES (?1,?2,?3,?3,?4)
		ON CONFLICT (host, machine) DO UPDATE SET last=excluded.last, address=excluded.address`,
		host, m.ID, m.Last.UnixNano(), m.Address)
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM machines WHERE host = ?1 AND machine NOT IN
			(SELECT machine FROM machines WHERE host = ?1 ORDER BY last DESC, machine = ?2 DESC LIMIT ?3)`,
			host, m.ID, MaxMachines)
	}
	if err == nil {
		err = tx.Commit()
	}
	return before, wrap("note the machine of", host, err)
}
