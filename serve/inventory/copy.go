package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bakehouse/schema/fault"
	"bakehouse/serve/inventory/sqldb"
)

// table is one as it is copied, its rows in the order of its first columns.
type table struct {
	name    string
	columns string // NAME TYPE, ...
	key     int    // how many columns are the key
}

// kept are all tables. A test compares them with what the steps make.
var kept = []table{
	{"hosts", `name TEXT, secret BLOB, "user" TEXT, platform TEXT, agent TEXT, registered INTEGER, token TEXT,
		ended TEXT, ended_by TEXT, ended_at INTEGER`, 1},
	{"reports", `host TEXT, at INTEGER, timestamp INTEGER, root INTEGER, report TEXT, details TEXT, address TEXT`, 1},
	{"served", `anchor BLOB, timestamp INTEGER, file BLOB, at INTEGER`, 1},
	{"packages", `host TEXT, package BLOB, manifest BLOB, seen INTEGER`, 2},
	{"machines", `host TEXT, machine TEXT, first INTEGER, last INTEGER, address TEXT`, 2},
	{"tokens", `id TEXT, secret BLOB, "user" TEXT, created INTEGER, expires INTEGER, uses INTEGER, used INTEGER,
		hosts TEXT, site TEXT, ring TEXT, replaces INTEGER, revoked INTEGER, revoked_by TEXT`, 1},
	{"audit", `seq INTEGER, at INTEGER, event TEXT`, 1},
	{"verdicts", `name TEXT, version INTEGER, body BLOB`, 1},
	{"past", `host TEXT, at INTEGER, state TEXT, code TEXT, release INTEGER, words TEXT`, 2},
	{"points", `at INTEGER, release INTEGER, hosts INTEGER, total INTEGER`, 1},
	{"changes", `number INTEGER, hosts TEXT, polled BLOB`, 1},
	{"folded", `id INTEGER, number INTEGER, polled BLOB`, 1},
	{"sites", `name TEXT, at INTEGER, body BLOB`, 1},
}

func (t table) names() (names, types []string) {
	for column := range strings.SplitSeq(t.columns, ",") {
		fields := strings.Fields(column)
		names, types = append(names, fields[0]), append(types, fields[1])
	}
	return names, types
}

// copyFor is how long a copy or an import may take.
const copyFor = time.Hour

// Copied says how much was copied.
type Copied struct {
	Hosts int `json:"hosts"`
	Rows  int `json:"rows"`
}

// CopyTo copies everything to an empty inventory, in one transaction there. No server may write to this one meanwhile:
// if hosts change, the copy is undone and the error says so.
func (d *DB) CopyTo(ctx context.Context, to *DB) (c Copied, err error) {
	ctx, cancel := context.WithTimeout(ctx, copyFor)
	defer cancel()
	before, err := d.Number(ctx)
	if err != nil {
		return c, err
	}
	err = to.db.Write(ctx, func(tx sqldb.Tx) error {
		c = Copied{}
		if err := empty(ctx, tx); err != nil {
			return err
		}
		for _, t := range kept {
			n, err := d.copyTable(ctx, tx, t)
			if err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
			if c.Rows += n; t.name == "hosts" {
				c.Hosts = n
			}
		}
		after, err := d.Number(ctx)
		if err == nil && after != before {
			err = fault.Hint(errors.New("hosts changed while it was copied: nothing was copied"),
				"stop the servers that use it, and copy again")
		}
		return err
	})
	if err != nil {
		return Copied{}, fmt.Errorf("inventory: copy: %w", err)
	}
	to.restart()
	return c, nil
}

// empty is an error unless nothing is in the database.
func empty(ctx context.Context, tx sqldb.Tx) error {
	for _, t := range kept {
		var n int64
		if err := tx.Get(ctx, "SELECT count(*) FROM (SELECT 1 FROM "+t.name+" LIMIT 2) AS two", nil, &n); err != nil {
			return err
		}
		if n > 0 && t.name != "folded" {
			return fault.Hint(errors.New("the inventory that is copied to is not empty"),
				"copy to a new one; to add registrations to one that is there, use inventory export and import")
		}
	}
	return tx.Exec(ctx, "DELETE FROM folded")
}

func (d *DB) copyTable(ctx context.Context, tx sqldb.Tx, t table) (n int, err error) {
	names, types := t.names()
	list := strings.Join(names, ", ")
	into := sqldb.Upsert{Into: t.name + " (" + list + ")", Of: types}
	var rows [][]any
	query := "SELECT " + list + " FROM " + t.name + " ORDER BY " + strings.Join(names[:t.key], ", ")
	err = d.db.Each(ctx, query, nil, func(scan func(...any) error) error {
		row, to := make([]any, len(names)), make([]any, len(names))
		for i := range row {
			to[i] = &row[i]
		}
		if err := scan(to...); err != nil {
			return err
		}
		n++
		if rows = append(rows, row); len(rows) < page {
			return nil
		}
		err := tx.Upsert(ctx, into, rows)
		rows = nil
		return err
	})
	if err == nil && len(rows) > 0 {
		err = tx.Upsert(ctx, into, rows)
	}
	return n, err
}

// restart has what is remembered read again.
func (d *DB) restart() {
	d.reading.Lock()
	defer d.reading.Unlock()
	d.number = -1
}

// Backup copies the inventory as it is now to a file that does not exist, for its owner only, while servers use it. It
// is errors.ErrUnsupported for PostgreSQL, which has a program for that.
func (d *DB) Backup(ctx context.Context, file string) error {
	if err := d.db.Backup(ctx, file); err != nil {
		return fmt.Errorf("inventory: backup: %w", err)
	}
	return nil
}
