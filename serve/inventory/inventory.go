// Package inventory remembers what hosts told a server: who is registered, what each last reported, and which
// packages each was once given. It is the only state of a server that its store does not hold.
//
// One SQLite file, mode 0600 because a stolen secret hash says who may be impersonated once it is broken; its -wal and
// -shm files inherit the mode. A registration is on disk when Register returns, since the host keeps the secret for
// good. Reports are not worth a sync each: they are queued and written in groups, one transaction for all that came
// while the last was being written, and the newest report of a host replaces a queued older one. A crash loses at most
// the queue, and the hosts' next polls bring it again.
package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// MaxPackages is how many packages are remembered per host, the most recently seen.
const MaxPackages = 8

// Registration is a host that may poll. Secret is the SHA-256 of its secret.
type Registration struct {
	Host     string
	Secret   schema.Digest
	User     string // who registered it, or created the token
	Token    string // ID of the join token by which; empty: by a password
	Platform schema.Platform
	Agent    string // version of the host program
	At       time.Time
}

// Seen is a host's last poll: when, what it had verified, and its report. A report without Details keeps those that
// came before.
type Seen struct {
	At        time.Time
	Address   string // whence
	Timestamp int64
	Root      int64
	Report    schema.Report
}

// after is s with the details that earlier had, if it has none of its own.
func (s Seen) after(earlier Seen) Seen {
	if s.Report.Details == nil {
		s.Report.Details = earlier.Report.Details
	}
	return s
}

// Package is a package that a host was given, by its own digest and its manifest's.
type Package struct{ SHA256, Manifest schema.Digest }

// Host is all that is known of a registered host. Seen is zero before its first poll.
type Host struct {
	Registration
	End  End
	Seen Seen
}

// DB is an open inventory. It is safe for concurrent use; several processes may share the file.
type DB struct {
	read  *sql.DB
	write *sql.DB // one connection: SQLite has one writer, and waiting in Go is fairer than in busy_timeout

	secret, packages *sql.Stmt // asked at every request
	created          bool

	mu      sync.Mutex
	queue   map[string]Seen
	failed  error         // of the last group; told at the next Report
	wake    chan struct{} // capacity 1
	closing chan struct{}
	done    chan struct{}
}

const schemaVersion = 4

// upgrades lead from the version of their place to the next.
var upgrades = [schemaVersion]string{0: tables + machines + access, 2: machines + access, 3: access}

const access = tokens + audit + ends

const tables = `
CREATE TABLE hosts (
	name TEXT PRIMARY KEY, secret BLOB NOT NULL, user TEXT NOT NULL, platform TEXT NOT NULL, agent TEXT NOT NULL,
	registered INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE reports (
	host TEXT PRIMARY KEY, at INTEGER NOT NULL, timestamp INTEGER NOT NULL, root INTEGER NOT NULL, report TEXT NOT NULL,
	details TEXT, address TEXT NOT NULL
) STRICT;
CREATE TABLE served (
	anchor BLOB PRIMARY KEY, timestamp INTEGER NOT NULL, file BLOB NOT NULL, at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE packages (
	host TEXT NOT NULL, package BLOB NOT NULL, manifest BLOB NOT NULL, seen INTEGER NOT NULL,
	PRIMARY KEY (host, package)
) STRICT, WITHOUT ROWID;`

const machines = `
CREATE TABLE machines (
	host TEXT NOT NULL, machine TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, address TEXT NOT NULL,
	PRIMARY KEY (host, machine)
) STRICT, WITHOUT ROWID;`

// Open opens or creates the inventory in file, whose directory must exist.
func Open(ctx context.Context, file string) (*DB, error) {
	db, err := open(ctx, file)
	if err != nil {
		hint := "move the file away to start an empty database (hosts then register again), or restore it from a backup"
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			hint = "--database names a file in an existing directory that this user may write to"
		}
		return nil, fault.Hint(fmt.Errorf("database %s: %w", file, err), "%s", hint)
	}
	return db, nil
}

func open(ctx context.Context, file string) (*DB, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Unwrap(err) // the path stands in the caller's text
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"},
		"_txlock": {"immediate"},
	}.Encode()}
	d := &DB{queue: map[string]Seen{}, wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	if d.write, err = sql.Open("sqlite", dsn.String()); err != nil {
		return nil, err
	}
	d.write.SetMaxOpenConns(1)
	if d.read, err = sql.Open("sqlite", dsn.String()); err != nil {
		return nil, errors.Join(err, d.write.Close())
	}
	d.read.SetMaxOpenConns(4)
	d.read.SetMaxIdleConns(4)
	err = d.migrate(ctx)
	if err == nil {
		d.secret, err = d.read.PrepareContext(ctx, "SELECT secret FROM hosts WHERE name = ? AND ended = ''")
	}
	if err == nil {
		d.packages, err = d.read.PrepareContext(ctx, "SELECT package, manifest FROM packages WHERE host = ? ORDER BY seen DESC")
	}
	if err != nil {
		return nil, errors.Join(err, d.read.Close(), d.write.Close())
	}
	go d.run()
	return d, nil
}

func (d *DB) migrate(ctx context.Context) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version == schemaVersion {
		return nil
	}
	if version < 0 || version > schemaVersion || upgrades[version] == "" {
		return fmt.Errorf("it has version %d, this program reads %d: it was written by another bakehouse", version,
			schemaVersion)
	}
	d.created = version == 0
	_, err = tx.ExecContext(ctx, upgrades[version]+fmt.Sprintf("PRAGMA user_version = %d;", schemaVersion))
	if err != nil {
		return err
	}
	return tx.Commit()
}

// Close writes what is queued and closes the file.
func (d *DB) Close() error {
	close(d.closing)
	<-d.done
	err := d.flush()
	return errors.Join(err, d.read.Close(), d.write.Close())
}

// Created reports whether Open made the database: no host is registered in it.
func (d *DB) Created() bool { return d.created }

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error {
	var n int
	return d.read.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM hosts LIMIT 1)").Scan(&n)
}

// Secret returns the digest of the host's secret, or an error that wraps fs.ErrNotExist, also if its registration ended.
func (d *DB) Secret(ctx context.Context, host string) (schema.Digest, error) {
	var b []byte
	err := d.secret.QueryRowContext(ctx, host).Scan(&b)
	if err != nil {
		return schema.Digest{}, wrap("look up", host, err)
	}
	return digest(b)
}

// Host returns what is known of a host that is or was registered, or an error that wraps fs.ErrNotExist. Reports still
// queued count.
func (d *DB) Host(ctx context.Context, name string) (*Host, error) {
	return d.host(ctx, d.read.QueryRowContext, name)
}

func (d *DB) host(ctx context.Context, query func(context.Context, string, ...any) *sql.Row, name string) (*Host,
	error) {
	h := Host{Registration: Registration{Host: name}}
	d.mu.Lock() // before the file: what leaves the queue in between is then found there
	queued, isQueued := d.queue[name]
	d.mu.Unlock()
	var secret []byte
	var platform string
	var registered, ended int64
	var at, timestamp, root sql.NullInt64
	var report, details, address sql.NullString
	err := query(ctx, `SELECT secret, user, token, platform, agent, registered, ended, ended_by,
		ended_at, at, timestamp, root, report, details, address FROM hosts LEFT JOIN reports ON host = name WHERE name = ?`, name).
		Scan(&secret, &h.User, &h.Token, &platform, &h.Agent, &registered, &h.End.How, &h.End.By, &ended, &at, &timestamp, &root, &report, &details, &address)
	if err != nil {
		return nil, wrap("look up", name, err)
	}
	if h.Secret, err = digest(secret); err != nil {
		return nil, wrap("look up", name, err)
	}
	if err := h.Platform.UnmarshalText([]byte(platform)); err != nil {
		return nil, wrap("look up", name, err)
	}
	h.At = time.Unix(registered, 0).UTC()
	if h.End.How != "" {
		h.End.At = time.Unix(ended, 0).UTC()
	}
	if report.Valid {
		h.Seen = Seen{At: time.Unix(at.Int64, 0).UTC(), Address: address.String, Timestamp: timestamp.Int64,
			Root: root.Int64}
		if err := json.Unmarshal([]byte(report.String), &h.Seen.Report); err != nil {
			return nil, wrap("read the report of", name, err)
		}
	}
	if details.Valid {
		h.Seen.Report.Details = new(schema.Details)
		if err := json.Unmarshal([]byte(details.String), h.Seen.Report.Details); err != nil {
			return nil, wrap("read the report of", name, err)
		}
	}
	if isQueued {
		h.Seen = queued.after(h.Seen)
	}
	return &h, nil
}

// Remember records that the host was given p, and forgets all but its last MaxPackages.
func (d *DB) Remember(ctx context.Context, host string, p Package, at time.Time) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return wrap("remember a package of", host, err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO packages (host, package, manifest, seen) VALUES (?,?,?,?)
		ON CONFLICT (host, package) DO UPDATE SET manifest=excluded.manifest, seen=excluded.seen`,
		host, p.SHA256[:], p.Manifest[:], at.UnixNano()); err != nil {
		return wrap("remember a package of", host, err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM packages WHERE host = ?1 AND package NOT IN
		(SELECT package FROM packages WHERE host = ?1 ORDER BY seen DESC LIMIT ?2)`, host, MaxPackages); err != nil {
		return wrap("remember a package of", host, err)
	}
	return wrap("remember a package of", host, tx.Commit())
}

// Packages lists the packages that the host was given, newest first.
func (d *DB) Packages(ctx context.Context, host string) ([]Package, error) {
	rows, err := d.packages.QueryContext(ctx, host)
	if err != nil {
		return nil, wrap("list the packages of", host, err)
	}
	defer rows.Close()
	var list []Package
	for rows.Next() {
		var sum, manifest []byte
		if err := rows.Scan(&sum, &manifest); err != nil {
			return nil, wrap("list the packages of", host, err)
		}
		var p Package
		if p.SHA256, err = digest(sum); err == nil {
			p.Manifest, err = digest(manifest)
		}
		if err != nil {
			return nil, wrap("list the packages of", host, err)
		}
		list = append(list, p)
	}
	return list, wrap("list the packages of", host, rows.Err())
}

func digest(b []byte) (d schema.Digest, err error) {
	if len(b) != len(d) {
		return d, fmt.Errorf("a stored digest has %d bytes", len(b))
	}
	copy(d[:], b)
	return d, nil
}

func wrap(what, host string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("inventory: %s host %.80q: %w", what, host, err)
	}
	return nil
}
