// Package sqlite has the inventory in one SQLite file. It is mode 0600, because a stolen digest of a secret says who
// may be impersonated once it is broken; its -wal and -shm files inherit the mode.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"bakehouse/serve/inventory/sqldb"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// DB is an open file. Several processes may share it.
type DB struct {
	read, write *asker
	created     bool
}

// Open opens or creates the file, whose directory must exist, and brings its tables to the newest version.
func Open(ctx context.Context, file string, steps sqldb.Steps) (*DB, error) {
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
	d := &DB{}
	// One connection: SQLite has one writer, and waiting in Go is fairer than in busy_timeout.
	if d.write, err = connect(dsn.String(), 1); err != nil {
		return nil, err
	}
	if d.read, err = connect(dsn.String(), 4); err != nil {
		return nil, errors.Join(err, d.write.Close())
	}
	if err := d.migrate(ctx, steps); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *DB) migrate(ctx context.Context, steps sqldb.Steps) error {
	return d.Write(ctx, func(tx sqldb.Tx) error {
		var version int
		if err := tx.Get(ctx, "PRAGMA user_version", nil, &version); err != nil {
			return err
		}
		pending, err := steps.Pending(version)
		if err != nil {
			return err
		}
		d.created = version == 0
		for _, step := range pending {
			if err := tx.Exec(ctx, fmt.Sprintf("%s; PRAGMA user_version = %d", step.Statements, step.To)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Created reports whether Open made the tables.
func (d *DB) Created() bool { return d.created }

// Close closes the file.
func (d *DB) Close() error { return errors.Join(d.read.Close(), d.write.Close()) }

// Backup copies the file as it is now into another, which must not exist, while it is written to.
func (d *DB) Backup(ctx context.Context, file string) error {
	// VACUUM INTO takes a file that is there and empty; its own would be readable by others.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = f.Close()
	if err == nil {
		_, err = d.read.ExecContext(ctx, "VACUUM INTO $1", file)
	}
	if err == nil {
		f, err = os.Open(file)
	}
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

// Items selects the strings of a JSON array.
func (d *DB) Items(parameter string) string { return "SELECT value FROM json_each(" + parameter + ")" }

// Get reads one row.
func (d *DB) Get(ctx context.Context, query string, args []any, into ...any) error {
	ctx, cancel := sqldb.Within(ctx, sqldb.AskTimeout)
	defer cancel()
	return d.read.in(nil).Get(ctx, query, args, into...)
}

// Each reads rows.
func (d *DB) Each(ctx context.Context, query string, args []any, row func(func(...any) error) error) error {
	return d.read.in(nil).Each(ctx, query, args, row)
}

// Write runs f in a transaction.
func (d *DB) Write(ctx context.Context, f func(sqldb.Tx) error) error {
	ctx, cancel := sqldb.Within(ctx, sqldb.WriteTimeout)
	defer cancel()
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	in := d.write.in(tx)
	err = f(in)
	for _, stmt := range in.own {
		err = errors.Join(err, stmt.Close())
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

// asker is connections with their prepared statements.
type asker struct {
	*sql.DB
	mu       sync.Mutex
	prepared map[string]*sql.Stmt
}

func connect(dsn string, connections int) (*asker, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return &asker{DB: db, prepared: map[string]*sql.Stmt{}}, nil
}

// in is the asker within a transaction; nil is none.
func (a *asker) in(tx *sql.Tx) session { return session{a, tx, map[string]*sql.Stmt{}} }

type session struct {
	*asker
	tx  *sql.Tx
	own map[string]*sql.Stmt // of the transaction
}

// statement is the query, prepared once. In a transaction the one connection is taken, so it prepares for itself.
func (s session) statement(ctx context.Context, query string) (stmt *sql.Stmt, err error) {
	prepare, prepared := s.PrepareContext, s.prepared
	if s.tx != nil {
		prepare, prepared = s.tx.PrepareContext, s.own
	} else {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	if stmt = prepared[query]; stmt == nil {
		if stmt, err = prepare(ctx, query); err == nil {
			prepared[query] = stmt
		}
	}
	return stmt, err
}

func (s session) Get(ctx context.Context, query string, args []any, into ...any) error {
	stmt, err := s.statement(ctx, query)
	if err != nil {
		return err
	}
	return stmt.QueryRowContext(ctx, args...).Scan(into...)
}

func (s session) Each(ctx context.Context, query string, args []any, row func(func(...any) error) error) error {
	stmt, err := s.statement(ctx, query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s session) Exec(ctx context.Context, query string, args ...any) error {
	_, err := s.tx.ExecContext(ctx, query, args...)
	return err
}

func (s session) Change(ctx context.Context, query string, args ...any) (rows int64, err error) {
	stmt, err := s.statement(ctx, query)
	if err != nil {
		return 0, err
	}
	r, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (s session) Upsert(ctx context.Context, u sqldb.Upsert, rows [][]any) error {
	values := make([]string, len(u.Of))
	for i := range values {
		values[i] = fmt.Sprint("$", i+1)
	}
	stmt, err := s.tx.PrepareContext(ctx, "INSERT INTO "+u.Into+" VALUES ("+strings.Join(values, ",")+") "+u.Then)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, row := range rows {
		if _, err := stmt.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	return nil
}
