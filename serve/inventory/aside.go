package inventory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"bakehouse/serve/inventory/sqldb"
)

// aside is what is queued of a host beside its report: packages that it was given, and machines that reported as it.
// It is written with the reports, many hosts in one transaction: after a server's start each host's first poll brings
// some, and a sync for each took longer than everything else. What a crash loses, the host's next poll brings again.
type aside struct {
	given []given   // newest first
	met   []Machine // the last one first
}

type given struct {
	Package
	at time.Time
}

// put queues something of a host.
func (d *DB) put(host string, change func(*aside)) {
	d.mu.Lock()
	a := d.asides[host]
	change(&a)
	d.asides[host] = a
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default: // as in Report
	}
}

// aside is what is queued of a host, which its owner does not change.
func (d *DB) aside(host string) aside {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asides[host]
}

// drop forgets what is queued of a host, of which nobody is writing anything: see flushing.
func (d *DB) drop(host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.asides, host)
}

// newest merges two lists into one, the newest first: of what same says is one thing, the first list has the newer.
func newest[T any](queued, written []T, n int, at func(T) time.Time, same func(a, b T) bool) []T {
	list := slices.Clone(queued)
	for _, w := range written {
		if !slices.ContainsFunc(queued, func(q T) bool { return same(q, w) }) {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b T) int { return at(b).Compare(at(a)) })
	return list[:min(n, len(list))]
}

func newestGiven(queued, written []given) []given {
	return newest(queued, written, MaxPackages, func(g given) time.Time { return g.at },
		func(a, b given) bool { return a.SHA256 == b.SHA256 })
}

func newestMet(queued, written []Machine) []Machine {
	return newest(queued, written, MaxMachines, func(m Machine) time.Time { return m.Last },
		func(a, b Machine) bool { return a.ID == b.ID })
}

var (
	rememberPackages = sqldb.Upsert{
		Into: "packages (host, package, manifest, seen)",
		Of:   []string{"TEXT", "BLOB", "BLOB", "INTEGER"},
		Then: "ON CONFLICT (host, package) DO UPDATE SET manifest=excluded.manifest, seen=excluded.seen",
	}
	rememberMachines = sqldb.Upsert{
		Into: "machines (host, machine, first, last, address)",
		Of:   []string{"TEXT", "TEXT", "INTEGER", "INTEGER", "TEXT"},
		Then: "ON CONFLICT (host, machine) DO UPDATE SET last=excluded.last, address=excluded.address",
	}
)

// flushAsides writes what is queued beside reports. It is called while flushing is held.
func (d *DB) flushAsides(ctx context.Context) error {
	d.mu.Lock()
	group := maps.Clone(d.asides)
	d.mu.Unlock()
	var packages, machines [][]any
	for _, host := range slices.Sorted(maps.Keys(group)) {
		a := group[host]
		byKey := slices.SortedFunc(slices.Values(a.given), func(a, b given) int {
			return slices.Compare(a.SHA256[:], b.SHA256[:])
		})
		for _, p := range byKey {
			packages = append(packages, []any{host, p.SHA256[:], p.Manifest[:], p.at.UnixNano()})
		}
		byID := slices.SortedFunc(slices.Values(a.met), func(a, b Machine) int { return cmp.Compare(a.ID, b.ID) })
		for _, m := range byID {
			machines = append(machines, []any{host, m.ID, m.First.UnixNano(), m.Last.UnixNano(), m.Address})
		}
	}
	var err error
	if len(packages)+len(machines) > 0 {
		err = d.db.Write(ctx, func(tx sqldb.Tx) error { return d.writeAsides(ctx, tx, packages, machines) })
	}
	if err != nil {
		return fmt.Errorf("inventory: packages and machines of %d hosts: %w", len(group), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for host, written := range group {
		now, ok := d.asides[host]
		if !ok {
			continue
		}
		now.given = slices.DeleteFunc(slices.Clone(now.given), func(p given) bool {
			return slices.Contains(written.given, p)
		})
		now.met = slices.DeleteFunc(slices.Clone(now.met), func(m Machine) bool { return slices.Contains(written.met, m) })
		if d.asides[host] = now; len(now.given)+len(now.met) == 0 {
			delete(d.asides, host)
		}
	}
	return nil
}

func (d *DB) writeAsides(ctx context.Context, tx sqldb.Tx, packages, machines [][]any) error {
	for _, rows := range []struct {
		upsert sqldb.Upsert
		rows   [][]any
		trim   string // what a host has too many of, its parameters the hosts and how many may be left
	}{
		{rememberPackages, packages, `DELETE FROM packages WHERE host IN (` + d.db.Items("$1") + `) AND (
				SELECT count(*) FROM packages AS later WHERE later.host = packages.host AND (later.seen > packages.seen
				OR later.seen = packages.seen AND later.package < packages.package)) >= $2`},
		{rememberMachines, machines, `DELETE FROM machines WHERE host IN (` + d.db.Items("$1") + `) AND (
				SELECT count(*) FROM machines AS later WHERE later.host = machines.host AND (later.last > machines.last
				OR later.last = machines.last AND later.machine < machines.machine)) >= $2`},
	} {
		if len(rows.rows) == 0 {
			continue
		}
		if err := tx.Upsert(ctx, rows.upsert, rows.rows); err != nil {
			return err
		}
		for hosts := range slices.Chunk(rows.rows, page) {
			var names []string
			for _, row := range hosts {
				names = append(names, row[0].(string))
			}
			if err := tx.Exec(ctx, rows.trim, sqldb.List(slices.Compact(names)), MaxPackages); err != nil {
				return err
			}
		}
	}
	return nil
}
