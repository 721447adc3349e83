// Package postgres has the inventory in a PostgreSQL database, which several servers share.
//
// One transaction writes at a time: each takes an advisory lock first. Then what is decided by what was read holds, as
// it does in SQLite, no two transactions deadlock, and the numbers of changes become visible in their order. It costs
// no throughput that is needed: reports are written in groups.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"bakehouse/serve/inventory/sqldb"
)

// DB is a pool of connections.
type DB struct {
	pool    *pgxpool.Pool
	conns   int
	writing chan struct{} // held by the writer of this process, so that those who wait hold no connection
	created bool
}

// Defaults of what the location may say: connect_timeout and pool_max_conns. A server's own limit is 100 connections,
// for all clients.
const (
	connectTimeout = 5 * time.Second
	maxConns       = 10
)

// lock is of all that bakehouse writes in a database.
const lock = 0x62616b65 // "bake"

// Open connects to a database by its URL and brings its tables to the newest version. The error says nothing of
// passwords.
func Open(ctx context.Context, location string, steps sqldb.Steps) (*DB, error) {
	c, err := pgxpool.ParseConfig(location)
	if err != nil {
		if why := errors.Unwrap(err); why != nil {
			err = why // the whole one quotes the URL
		}
		return nil, fmt.Errorf("invalid URL: %w", err)
	}
	if !strings.Contains(location, "connect_timeout=") {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	if !strings.Contains(location, "pool_max_conns=") {
		c.MaxConns = maxConns
	}
	if c.MaxConns < 2 {
		return nil, errors.New("pool_max_conns is less than 2: one connection writes, others read")
	}
	c.ConnConfig.RuntimeParams["application_name"] = "bakehouse"
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	d := &DB{pool: pool, conns: int(c.MaxConns), writing: make(chan struct{}, 1)}
	if err := d.migrate(ctx, steps); err != nil {
		pool.Close()
		return nil, err
	}
	return d, nil
}

// types are what SQLite's words for tables are called here. Names sort by their bytes in both.
var types = strings.NewReplacer("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT PRIMARY KEY",
	"INTEGER", "BIGINT", "BLOB", "BYTEA", "TEXT", `TEXT COLLATE "C"`, " STRICT, WITHOUT ROWID", "", " STRICT", "")

func (d *DB) migrate(ctx context.Context, steps sqldb.Steps) error {
	const query = "SELECT version FROM bakehouse_inventory"
	version := 0
	err := d.Get(ctx, query, nil, &version)
	var missing *pgconn.PgError
	if errors.As(err, &missing) && missing.Code == "42P01" { // undefined_table
		err = nil
	}
	if err != nil || version == steps.Newest() { // a standby that only reads will do
		return err
	}
	return d.Write(ctx, func(tx sqldb.Tx) error {
		err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS bakehouse_inventory (version BIGINT NOT NULL)")
		if err != nil {
			return err
		}
		version = 0 // another server may have been here
		if err := tx.Get(ctx, query, nil, &version); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		d.created = version == 0
		pending, err := steps.Pending(version)
		if err != nil {
			return err
		}
		for _, step := range pending {
			err := tx.Exec(ctx, fmt.Sprintf(`%s; DELETE FROM bakehouse_inventory;
				INSERT INTO bakehouse_inventory VALUES (%d)`, types.Replace(step.Statements), step.To))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Created reports whether Open made the tables.
func (d *DB) Created() bool { return d.created }

// Close closes the connections.
func (d *DB) Close() error {
	d.pool.Close()
	return nil
}

// Items selects the strings of a JSON array.
func (d *DB) Items(parameter string) string {
	return "SELECT value FROM jsonb_array_elements_text((" + parameter + ")::text::jsonb)"
}

// Backup is not ours to make.
func (d *DB) Backup(context.Context, string) error { return errors.ErrUnsupported }

// Get reads one row.
func (d *DB) Get(ctx context.Context, query string, args []any, into ...any) error {
	ctx, cancel := sqldb.Within(ctx, sqldb.AskTimeout)
	defer cancel()
	return d.with(ctx, func(c *pgxpool.Conn) (bool, error) {
		return true, session{c}.Get(ctx, query, args, into...)
	})
}

// Each reads rows. It asks again only if there was none yet.
func (d *DB) Each(ctx context.Context, query string, args []any, row func(func(...any) error) error) error {
	ctx, cancel := sqldb.Within(ctx, sqldb.WriteTimeout)
	defer cancel()
	return d.with(ctx, func(c *pgxpool.Conn) (again bool, err error) {
		again = true
		err = session{c}.Each(ctx, query, args, func(scan func(...any) error) error {
			again = false
			return row(scan)
		})
		return again, err
	})
}

// Write runs f in a transaction.
func (d *DB) Write(ctx context.Context, f func(sqldb.Tx) error) error {
	ctx, cancel := sqldb.Within(ctx, sqldb.WriteTimeout)
	defer cancel()
	select {
	case d.writing <- struct{}{}:
		defer func() { <-d.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return d.with(ctx, func(c *pgxpool.Conn) (again bool, err error) {
		tx, err := c.Begin(ctx)
		if err != nil {
			return true, err
		}
		defer tx.Rollback(context.WithoutCancel(ctx)) // quick: the connection is closed if it does not answer
		// The server ends the transaction of a client that is gone, whose lock would stop all others.
		_, err = tx.Exec(ctx, `SELECT set_config('idle_in_transaction_session_timeout', '10s', true),
			set_config('statement_timeout', '20s', true), pg_advisory_xact_lock($1)`, lock)
		if err == nil {
			err = f(session{tx})
		}
		if err != nil {
			return true, err
		}
		// Whether a commit counts whose answer is lost is not known, so it is not tried again.
		return false, tx.Commit(ctx)
	})
}

// with runs f with a connection, and again with another one if the first was lost, or if the database ended the
// transaction in favour of another, and f says that it may be run again. After a restart of the server as many
// connections of the pool are broken as there are.
func (d *DB) with(ctx context.Context, f func(*pgxpool.Conn) (again bool, err error)) error {
	for tries := d.conns; ; tries-- {
		lost, again, err := d.try(ctx, f)
		var ended *pgconn.PgError
		if errors.As(err, &ended) {
			switch ended.Code {
			case "40001", "40P01": // serialization_failure, deadlock_detected
				lost = true
			case "25006": // read_only_sql_transaction: it is a standby by now, the others of the pool are, too
				d.pool.Reset()
				lost = true
			}
		}
		if err == nil || tries == 0 || ctx.Err() != nil || !pgconn.SafeToRetry(err) && !(lost && again) {
			return err
		}
	}
}

func (d *DB) try(ctx context.Context, f func(*pgxpool.Conn) (bool, error)) (lost, again bool, err error) {
	c, err := d.pool.Acquire(ctx)
	if errors.Is(err, fs.ErrNotExist) { // the socket of a server that is down is no host that is not registered
		return false, false, errors.New(err.Error())
	}
	if err != nil {
		return false, false, err
	}
	defer c.Release()
	again, err = f(c)
	return c.Conn().IsClosed(), again, err
}

// asker is a connection or a transaction.
type asker interface {
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

type session struct{ asker }

func (s session) Get(ctx context.Context, query string, args []any, into ...any) error {
	return s.QueryRow(ctx, query, args...).Scan(into...)
}

func (s session) Each(ctx context.Context, query string, args []any, row func(func(...any) error) error) error {
	rows, err := s.Query(ctx, query, args...)
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
	_, err := s.asker.Exec(ctx, query, args...)
	return err
}

func (s session) Change(ctx context.Context, query string, args ...any) (rows int64, err error) {
	tag, err := s.asker.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

// arrayOf has PostgreSQL's types.
var arrayOf = map[string]string{"TEXT": "text[]", "INTEGER": "bigint[]", "BLOB": "bytea[]"}

// Upsert is one statement, whatever the number of rows: an array for each column.
func (s session) Upsert(ctx context.Context, u sqldb.Upsert, rows [][]any) error {
	arrays, columns := make([]string, len(u.Of)), make([]any, len(u.Of))
	for i, of := range u.Of {
		arrays[i] = fmt.Sprintf("$%d::%s", i+1, arrayOf[of])
		column := make([]any, len(rows))
		for j, row := range rows {
			column[j] = row[i]
		}
		columns[i] = column
	}
	_, err := s.asker.Exec(ctx, "INSERT INTO "+u.Into+" SELECT * FROM unnest("+strings.Join(arrays, ", ")+") "+u.Then,
		columns...)
	return err
}
