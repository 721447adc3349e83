// Package aside is what hosts bring a server beside their reports: which packages they were given, and which machines
// reported as them. It is queued, and written for many hosts in one transaction: after a server's start each host's
// first poll brings some, and a sync for each took longer than everything else. What is queued is listed with what is
// written. What a crash loses, the host's next poll brings again.
package aside

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory/sqldb"
)

// Max is how many packages, and how many machines, are remembered per host: the last ones.
const Max = 8

// Package is a package that a host was given, by its own digest and its manifest's.
type Package struct{ SHA256, Manifest schema.Digest }

// Machine is one that reported with a host's registration. Where there are several, one is a copy, or the host moved.
type Machine struct {
	ID          string // as in schema.Report
	First, Last time.Time
	Address     string // whence it last reported
}

// Queue is what is not written yet. Its zero value is empty. Whoever ends or moves a registration does so while no
// Flush runs, and drops what is queued of the host.
type Queue struct {
	mu    sync.Mutex
	hosts map[string]pending
	known map[string][2]uint64 // hashes of packages that a host is known to have been given: see Gave
}

var seed = maphash.MakeSeed()

func (p Package) hash() uint64 { return maphash.Comparable(seed, p) }

// Gave reports whether the host is known to have been given p: what each poll asks must not cost a query. It is so also
// if another server forgot the host meanwhile; then p is not listed until this host registers here or gets another one.
func (q *Queue) Gave(host string, p Package) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := q.known[host]
	return k[0] == p.hash() || k[1] == p.hash()
}

// Know notes that p is listed for the host: for the last two of them.
func (q *Queue) Know(host string, p Package) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.known == nil {
		q.known = map[string][2]uint64{}
	}
	q.known[host] = [2]uint64{p.hash(), q.known[host][0]}
}

// pending is what is queued of a host. Its lists are never changed, but replaced.
type pending struct {
	given []given   // newest first
	met   []Machine // the last one first
}

type given struct {
	Package
	at time.Time
}

func (q *Queue) change(host string, change func(*pending)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hosts == nil {
		q.hosts = map[string]pending{}
	}
	p := q.hosts[host]
	change(&p)
	if q.hosts[host] = p; len(p.given)+len(p.met) == 0 {
		delete(q.hosts, host)
	}
}

func (q *Queue) of(host string) pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.hosts[host]
}

// Len is how many hosts have something queued.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.hosts)
}

// Give queues that a host was given p.
func (q *Queue) Give(host string, p Package, at time.Time) {
	q.change(host, func(a *pending) { a.given = newestGiven([]given{{p, at}}, a.given) })
}

// Meet queues that a machine reported as the host.
func (q *Queue) Meet(host string, m Machine) {
	q.change(host, func(a *pending) { a.met = newestMet([]Machine{m}, a.met) })
}

// Drop forgets what is queued of a host.
func (q *Queue) Drop(host string) {
	q.change(host, func(a *pending) { *a = pending{} })
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.known, host)
}

// DropMachines forgets which machines reported as a host: who does from now on is another question.
func (q *Queue) DropMachines(host string) {
	q.change(host, func(a *pending) { a.met = nil })
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.known, host)
}

// Packages lists what the host was given, newest first.
func (q *Queue) Packages(ctx context.Context, db sqldb.Asker, host string) (list []Package, err error) {
	queued := q.of(host).given // before the database: what leaves the queue in between is then found there
	var written []given
	const query = "SELECT package, manifest, seen FROM packages WHERE host = $1 ORDER BY seen DESC, package"
	err = db.Each(ctx, query, []any{host}, func(scan func(...any) error) error {
		var sum, manifest []byte
		var seen int64
		err := scan(&sum, &manifest, &seen)
		g := given{at: time.Unix(0, seen)}
		if err == nil {
			g.SHA256, err = sqldb.Digest(sum)
		}
		if err == nil {
			g.Manifest, err = sqldb.Digest(manifest)
		}
		written = append(written, g)
		return err
	})
	for _, g := range newestGiven(queued, written) {
		list = append(list, g.Package)
	}
	return list, err
}

// Machines lists those that reported as the host, the last one first.
func (q *Queue) Machines(ctx context.Context, db sqldb.Asker, host string) (list []Machine, err error) {
	queued := q.of(host).met // before the database, as in Packages
	const query = "SELECT machine, first, last, address FROM machines WHERE host = $1 ORDER BY last DESC, machine"
	err = db.Each(ctx, query, []any{host}, func(scan func(...any) error) error {
		var m Machine
		var first, last int64
		err := scan(&m.ID, &first, &last, &m.Address)
		m.First, m.Last = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
		list = append(list, m)
		return err
	})
	return newestMet(queued, list), err
}

// newest merges two lists into one, the newest first: of what same says is one thing, the first list has the newer.
func newest[T any](queued, written []T, at func(T) time.Time, same func(a, b T) bool) []T {
	list := slices.Clone(queued)
	for _, w := range written {
		if !slices.ContainsFunc(queued, func(q T) bool { return same(q, w) }) {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b T) int { return at(b).Compare(at(a)) })
	return list[:min(Max, len(list))]
}

func newestGiven(queued, written []given) []given {
	return newest(queued, written, func(g given) time.Time { return g.at },
		func(a, b given) bool { return a.SHA256 == b.SHA256 })
}

func newestMet(queued, written []Machine) []Machine {
	return newest(queued, written, func(m Machine) time.Time { return m.Last },
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

// Flush writes what is queued, in one transaction. One caller at a time.
func (q *Queue) Flush(ctx context.Context, db sqldb.Database) error {
	q.mu.Lock()
	group := maps.Clone(q.hosts)
	q.mu.Unlock()
	if len(group) == 0 {
		return nil
	}
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
	err := db.Write(ctx, func(tx sqldb.Tx) error { return write(ctx, tx, db, packages, machines) })
	if err != nil {
		return fmt.Errorf("packages and machines of %d hosts: %w", len(group), err)
	}
	for host, written := range group {
		q.change(host, func(now *pending) {
			now.given = slices.DeleteFunc(slices.Clone(now.given), func(p given) bool {
				return slices.Contains(written.given, p)
			})
			now.met = slices.DeleteFunc(slices.Clone(now.met), func(m Machine) bool {
				return slices.Contains(written.met, m)
			})
		})
	}
	return nil
}

func write(ctx context.Context, tx sqldb.Tx, db sqldb.Database, packages, machines [][]any) error {
	for _, rows := range []struct {
		upsert sqldb.Upsert
		rows   [][]any
		trim   string // what a host has too many of, its parameters the hosts and how many may be left
	}{
		{rememberPackages, packages, `DELETE FROM packages WHERE host IN (` + db.Items("$1") + `) AND (
				SELECT count(*) FROM packages AS later WHERE later.host = packages.host AND (later.seen > packages.seen
				OR later.seen = packages.seen AND later.package < packages.package)) >= $2`},
		{rememberMachines, machines, `DELETE FROM machines WHERE host IN (` + db.Items("$1") + `) AND (
				SELECT count(*) FROM machines AS later WHERE later.host = machines.host AND (later.last > machines.last
				OR later.last = machines.last AND later.machine < machines.machine)) >= $2`},
	} {
		if len(rows.rows) == 0 {
			continue
		}
		if err := tx.Upsert(ctx, rows.upsert, rows.rows); err != nil {
			return err
		}
		for hosts := range slices.Chunk(rows.rows, 500) {
			var names []string
			for _, row := range hosts {
				names = append(names, row[0].(string))
			}
			if err := tx.Exec(ctx, rows.trim, sqldb.List(slices.Compact(names)), Max); err != nil {
				return err
			}
		}
	}
	return nil
}
