package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"bakehouse/serve/inventory/sqldb"
)

// Changes is what has changed since a number: how servers that share a database agree. Whoever keeps a table of all
// hosts asks Number, reads All, and then asks Changes each half second, with the number that the last answer had.
type Changes struct {
	Number int64                // up to which this is
	Behind bool                 // what changed since is no longer known: read All again, from Number on
	Hosts  []Host               // registered, ended, or with another report: as they are now
	Gone   []string             // forgotten, or renamed
	Polled map[string]time.Time // when hosts polled last, of those whose reports are as before
}

// change is a row of the table changes. One is written by each transaction that changes hosts, with their names, and
// each minute for those that polled without news, with their times alone. Its number is taken while no other
// transaction writes, so numbers become visible in their order: taken from a sequence, a number could appear after a
// higher one had been read, and would never be seen.
//
// Times are folded into one row now and then. Changes from before the fold before the last are dropped.
type change struct {
	number int64
	hosts  []string
	polled map[string]int64 // Unix time
}

// note adds a row. The names of hosts have no white space.
func note(ctx context.Context, tx sqldb.Tx, hosts []string, polled map[string]int64) (number int64, err error) {
	err = tx.Get(ctx, `INSERT INTO changes (number, hosts, polled)
		SELECT coalesce(max(number), 0) + 1, $1, $2 FROM changes RETURNING number`,
		[]any{strings.Join(hosts, " "), pack(polled)}, &number)
	return number, err
}

// changesAfter reads rows in their order. behind says that some are missing, or that the database is another one.
func changesAfter(ctx context.Context, db sqldb.Asker, after int64) (list []change, behind bool, err error) {
	var first, last sql.NullInt64
	err = db.Each(ctx, `SELECT number, hosts, polled FROM changes WHERE number > $1 ORDER BY number`, []any{after},
		func(scan func(...any) error) error {
			var c change
			var hosts string
			var polled []byte
			err := scan(&c.number, &hosts, &polled)
			if err == nil {
				c.hosts = strings.Fields(hosts)
				c.polled, err = unpack(polled)
			}
			list = append(list, c)
			return err
		})
	if err != nil {
		return nil, false, err
	}
	if len(list) > 0 && list[0].number == after+1 {
		return list, false, nil
	}
	if err := db.Get(ctx, "SELECT min(number), max(number) FROM changes", nil, &first, &last); err != nil {
		return nil, false, err
	}
	return list, after+1 < first.Int64 || after > last.Int64, nil
}

// catchUp brings what is remembered of hosts up to what is in the database, also by other servers.
func (d *DB) catchUp(ctx context.Context, db sqldb.Asker) error {
	d.reading.Lock()
	defer d.reading.Unlock()
	for range 2 {
		if d.number < 0 {
			var polled []byte
			var number int64
			if err := db.Get(ctx, "SELECT number, polled FROM folded WHERE id = 1", nil, &number, &polled); err != nil {
				return err
			}
			all, err := unpack(polled)
			if err != nil {
				return err
			}
			d.forgetAll(all)
			d.number = number
		}
		rows, behind, err := changesAfter(ctx, db, d.number)
		if err != nil {
			return err
		}
		if behind {
			d.number = -1
			continue
		}
		for _, c := range rows {
			d.absorb(c)
			d.number = c.number
		}
		d.settle()
		return nil
	}
	return errors.New("its changes are not in order")
}

// Number is the newest change that this server knows of.
func (d *DB) Number(ctx context.Context) (int64, error) {
	if err := d.catchUp(ctx, d.db); err != nil {
		return 0, fmt.Errorf("inventory: changes: %w", err)
	}
	d.reading.Lock()
	defer d.reading.Unlock()
	return d.number, nil
}

// Changes returns what changed after a number.
func (d *DB) Changes(ctx context.Context, after int64) (*Changes, error) {
	rows, behind, err := changesAfter(ctx, d.db, after)
	c := &Changes{Number: after, Behind: behind, Polled: map[string]time.Time{}}
	if err == nil && behind {
		c.Number, err = d.Number(ctx)
		return c, err
	}
	changed := map[string]bool{}
	for _, row := range rows {
		c.Number = row.number
		for _, host := range row.hosts {
			changed[host] = true
		}
		for host, at := range row.polled {
			c.Polled[host] = time.Unix(at, 0).UTC()
		}
	}
	if err == nil && len(rows) > 0 {
		err = d.catchUp(ctx, d.db)
	}
	if err == nil {
		err = d.changedHosts(ctx, changed, c)
	}
	if err != nil {
		return nil, fmt.Errorf("inventory: changes: %w", err)
	}
	return c, nil
}

// changedHosts adds hosts to c as they are now.
func (d *DB) changedHosts(ctx context.Context, changed map[string]bool, c *Changes) error {
	for names := range chunks(changed) {
		var hosts []*Host
		err := d.eachHost(ctx, d.db, " WHERE name IN ("+d.db.Items("$1")+")", []any{sqldb.List(names)},
			func(h *Host) error {
				hosts = append(hosts, h)
				return nil
			})
		for _, h := range hosts {
			d.recollect(h)
			d.ahead(h)
			c.Hosts = append(c.Hosts, *h)
			delete(changed, h.Host)
			delete(c.Polled, h.Host)
		}
		if err != nil {
			return err
		}
	}
	for host := range changed {
		c.Gone = append(c.Gone, host)
		delete(c.Polled, host)
	}
	return nil
}

// page is how many hosts are read at a time.
const page = 500

// chunks yields the names, a page at a time.
func chunks(names map[string]bool) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		var some, all []string
		for name := range names { // which the caller changes
			all = append(all, name)
		}
		for len(all) > 0 {
			some, all = all[:min(page, len(all))], all[min(page, len(all)):]
			if !yield(some) {
				return
			}
		}
	}
}

// All yields all hosts that are or were registered, by name. An error ends it. It reads a page at a time and holds
// nothing in the database open, so it is not one moment's state: see Changes.
func (d *DB) All(ctx context.Context) iter.Seq2[Host, error] {
	return func(yield func(Host, error) bool) {
		if err := d.catchUp(ctx, d.db); err != nil {
			yield(Host{}, fmt.Errorf("inventory: list hosts: %w", err))
			return
		}
		for last, n := "", page; n == page; {
			var hosts []*Host
			err := d.eachHost(ctx, d.db, " WHERE name > $1 ORDER BY name LIMIT $2", []any{last, page},
				func(h *Host) error {
					hosts = append(hosts, h)
					return nil
				})
			if err != nil {
				yield(Host{}, fmt.Errorf("inventory: list hosts: %w", err))
				return
			}
			for _, h := range hosts {
				d.recollect(h)
				d.ahead(h)
				if last = h.Host; !yield(*h, nil) {
					return
				}
			}
			n = len(hosts)
		}
	}
}
