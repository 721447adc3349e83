package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/serve/inventory/sqldb"
)

// Entry is a part of what moves to another server: a host with what it was given, or what was served last of a fleet.
// Join tokens, the audit log and machines stay behind.
type Entry struct {
	Served   *Served
	Host     *Host
	Packages []Package // of the host, newest first
}

// Export yields what moves. An error ends it.
func (d *DB) Export(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var served []Served
		err := d.db.Each(ctx, selectServed+" ORDER BY anchor", nil, func(scan func(...any) error) error {
			s, err := scanServed(scan)
			served = append(served, s)
			return err
		})
		if err != nil {
			yield(Entry{}, fmt.Errorf("inventory: export: %w", err))
			return
		}
		for _, s := range served {
			if !yield(Entry{Served: &s}, nil) {
				return
			}
		}
		for h, err := range d.All(ctx) {
			e := Entry{Host: &h}
			if err == nil {
				e.Packages, err = d.Packages(ctx, h.Host)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// LiveError says which registrations an import would have replaced.
type LiveError struct{ Hosts []string }

func (e *LiveError) Error() string {
	some := e.Hosts[:min(5, len(e.Hosts))]
	return fmt.Sprintf("%d hosts poll here with other registrations, such as %q", len(e.Hosts), some)
}

// Imported says what an import did.
type Imported struct {
	Hosts int `json:"hosts"` // added or replaced
	Same  int `json:"same"`  // were there already
	Older int `json:"older"` // were there with a newer registration, which stays
}

// Import adds entries, all or none: importing again changes nothing. Registrations that hosts poll with here are
// replaced only if that is wanted, or else the error is a *LiveError. A report, and what was served, counts if it is
// newer.
func (d *DB) Import(ctx context.Context, entries []Entry, replace bool) (done Imported, err error) {
	ctx, cancel := context.WithTimeout(ctx, copyFor)
	defer cancel()
	err = d.db.Write(ctx, func(tx sqldb.Tx) error {
		done = Imported{}
		if err := d.catchUp(ctx, tx); err != nil {
			return err
		}
		var live []string
		for part := range slices.Chunk(entries, page) {
			there, err := d.there(ctx, tx, part)
			if err != nil {
				return err
			}
			var write []Entry
			for _, e := range part {
				if e.Host == nil {
					if err := importServed(ctx, tx, *e.Served); err != nil {
						return err
					}
					continue
				}
				switch h := there[e.Host.Host]; {
				case h != nil && h.Registration == e.Host.Registration && h.End == e.Host.End:
					done.Same++
				case h != nil && h.Secret != e.Host.Secret && h.Live() && !replace:
					live = append(live, h.Host)
					continue
				case h != nil && !replace && h.At.After(e.Host.At):
					done.Older++
					continue
				default:
					done.Hosts++
				}
				write = append(write, e)
			}
			if err := importHosts(ctx, tx, write); err != nil {
				return err
			}
		}
		if len(live) > 0 {
			return &LiveError{live}
		}
		return nil
	})
	if live := (*LiveError)(nil); errors.As(err, &live) {
		return Imported{}, live
	}
	if err != nil {
		return Imported{}, fmt.Errorf("inventory: import: %w", err)
	}
	return done, nil
}

// there are those of the entries' hosts that are known.
func (d *DB) there(ctx context.Context, tx sqldb.Tx, entries []Entry) (map[string]*Host, error) {
	var names []string
	for _, e := range entries {
		if e.Host != nil {
			names = append(names, e.Host.Host)
		}
	}
	found := map[string]*Host{}
	err := d.eachHost(ctx, tx, " WHERE name IN ("+d.db.Items("$1")+")", []any{sqldb.List(names)}, func(h *Host) error {
		d.recollect(h)
		found[h.Host] = h
		return nil
	})
	return found, err
}

var (
	upsertHosts = sqldb.Upsert{
		Into: `hosts (name, secret, "user", token, platform, agent, registered, ended, ended_by, ended_at)`,
		Of: []string{"TEXT", "BLOB", "TEXT", "TEXT", "TEXT", "TEXT", "INTEGER", "TEXT", "TEXT",
			"INTEGER"},
		Then: `ON CONFLICT (name) DO UPDATE SET secret=excluded.secret, "user"=excluded."user", token=excluded.token,
			platform=excluded.platform, agent=excluded.agent, registered=excluded.registered, ended=excluded.ended,
			ended_by=excluded.ended_by, ended_at=excluded.ended_at`,
	}
	upsertPackages = sqldb.Upsert{
		Into: "packages (host, package, manifest, seen)", Of: []string{"TEXT", "BLOB", "BLOB", "INTEGER"},
		Then: "ON CONFLICT (host, package) DO NOTHING",
	}
)

func importHosts(ctx context.Context, tx sqldb.Tx, entries []Entry) error {
	var names []string
	var hosts, reports, packages [][]any
	polled := map[string]int64{}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Host.Host, b.Host.Host) })
	for _, e := range entries {
		h := e.Host
		names = append(names, h.Host)
		ended := int64(0)
		if h.End.How != "" {
			ended = h.End.At.Unix()
		}
		hosts = append(hosts, []any{h.Host, h.Secret[:], h.User, h.Token, h.Platform.String(), h.Agent, h.At.Unix(),
			h.End.How, h.End.By, ended})
		if !h.Seen.At.IsZero() {
			row, err := newEntry(h.Seen)
			if err != nil {
				return err
			}
			values, err := row.row(h.Host, h.Seen)
			if err != nil {
				return err
			}
			reports = append(reports, values)
			polled[h.Host] = h.Seen.At.Unix()
		}
		for i, p := range e.Packages {
			// Their order is kept, below whatever the host was given here.
			packages = append(packages, []any{h.Host, p.SHA256[:], p.Manifest[:], h.At.UnixNano() - int64(i)})
		}
	}
	if len(names) == 0 {
		return nil
	}
	newer := upsertReports
	newer.Then += " WHERE excluded.at > reports.at"
	err := tx.Upsert(ctx, upsertHosts, hosts)
	if err == nil && len(reports) > 0 {
		err = tx.Upsert(ctx, newer, reports)
	}
	if err == nil && len(packages) > 0 {
		err = tx.Upsert(ctx, upsertPackages, packages)
	}
	if err == nil {
		_, err = note(ctx, tx, names, polled)
	}
	return err
}

// importServed keeps the higher one.
func importServed(ctx context.Context, tx sqldb.Tx, s Served) error {
	var before int64
	err := tx.Get(ctx, "SELECT timestamp FROM served WHERE anchor = $1", []any{s.Anchor[:]}, &before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) || before >= s.Timestamp {
		return err
	}
	return serve(ctx, tx, s)
}

// Check is an error if e is not complete.
func (e Entry) Check() error {
	switch {
	case e.Served != nil && e.Host == nil && e.Served.Timestamp > 0:
		return nil
	case e.Host == nil || e.Served != nil:
		return errors.New("an entry is one host, or what was served of one fleet")
	case e.Host.Secret.IsZero():
		return errors.New("there is no digest of a secret")
	}
	return schema.CheckHostName(e.Host.Host)
}
