package inventory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"bakehouse/schema/fault"
	"bakehouse/serve/inventory/postgres"
	"bakehouse/serve/inventory/sqldb"
	"bakehouse/serve/inventory/sqlite"
)

// Open opens the inventory at a location, and makes its tables if there are none: a PostgreSQL database by its URL
// (postgres://USER@HOST/DATABASE), or a SQLite file, whose directory must exist, by its path or sqlite:PATH.
func Open(ctx context.Context, location string) (*DB, error) {
	db, hint, err := open(ctx, location)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("database %s: %w", Name(location), err), "%s", hint)
	}
	d := &DB{db: db, number: -1, queue: map[string]Seen{}, memory: map[string]memo{},
		doubts: map[string]doubt{}, own: map[int64]bool{}, wake: make(chan struct{}, 1), closing: make(chan struct{}),
		done: make(chan struct{})}
	go d.run()
	return d, nil
}

func open(ctx context.Context, location string) (db sqldb.Database, hint string, err error) {
	if IsPostgreSQL(location) {
		db, err = postgres.Open(ctx, location, steps)
		return db, "--database has the URL of a PostgreSQL database that is there and that the user may write to: " +
			"postgres://USER@HOST/DATABASE; a password belongs in the environment (PGPASSWORD, BAKEHOUSE_DATABASE) " +
			"or in a file (PGPASSFILE)", err
	}
	db, err = sqlite.Open(ctx, strings.TrimPrefix(location, "sqlite:"), steps)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return db, "--database names a file in an existing directory that this user may write to", err
	}
	return db, "move the file away to start an empty database (hosts then register again), or restore it from a " +
		"backup", err
}

// IsPostgreSQL reports whether a location is a URL of PostgreSQL, and not a file.
func IsPostgreSQL(location string) bool {
	return strings.HasPrefix(location, "postgres://") || strings.HasPrefix(location, "postgresql://")
}

// Name is a location for people: without passwords.
func Name(location string) string {
	if !IsPostgreSQL(location) {
		return strings.TrimPrefix(location, "sqlite:")
	}
	u, err := url.Parse(location)
	if err != nil {
		return "postgres://"
	}
	name := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User.Username() != "" {
		name.User = url.User(u.User.Username())
	}
	return name.String()
}

// Close writes what is queued and closes the database.
func (d *DB) Close() error {
	close(d.closing)
	<-d.done
	ctx := context.Background()
	return errors.Join(d.Flush(ctx), d.FlushPolled(ctx), d.db.Close())
}
