// Package sqldb is what the inventory asks of a database. Its statements are written once, in the SQL that SQLite and
// PostgreSQL share: numbered parameters ($1, which PostgreSQL gives one type each), ON CONFLICT, quoted words that one
// of them reserves, and tables of TEXT, INTEGER and BLOB. What differs is a method here: how it is connected to,
// locked, retried, and asked for many rows at once.
package sqldb

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"bakehouse/schema"
)

// Asker runs statements. Get is sql.ErrNoRows if there is no row. Each calls row for each one; scan fills its
// arguments from the columns.
type Asker interface {
	Get(ctx context.Context, query string, args []any, into ...any) error
	Each(ctx context.Context, query string, args []any, row func(scan func(into ...any) error) error) error
}

// Tx is a transaction that may write.
type Tx interface {
	Asker
	Exec(ctx context.Context, query string, args ...any) error
	// Change is Exec that returns how many rows there were to change.
	Change(ctx context.Context, query string, args ...any) (rows int64, err error)
	// Upsert inserts all rows, whose values are string, int64, []byte or nil.
	Upsert(ctx context.Context, u Upsert, rows [][]any) error
}

// Upsert is an INSERT of any number of rows. Rows that may be there already belong in the order of their keys.
type Upsert struct {
	Into string   // TABLE (COLUMN, ...)
	Of   []string // the columns' types: TEXT, INTEGER, BLOB
	Then string   // ON CONFLICT ...
}

// Database is an open database. It is safe for concurrent use, and others may use it too.
type Database interface {
	Asker // each in a transaction of its own, and asked again if the connection was lost
	// Write runs f in a transaction and makes it durable. No other Write of any process runs at the same time. f is run
	// again if the database ended the transaction for reasons of its own, so it sets what it returns on each run.
	Write(ctx context.Context, f func(Tx) error) error
	// Items is a SELECT of the strings of a parameter that is a JSON array of them: see List.
	Items(parameter string) string
	// Backup copies the database to a file that does not exist, or is errors.ErrUnsupported.
	Backup(ctx context.Context, file string) error
	// Created reports whether Open made its tables.
	Created() bool
	Close() error
}

// List is names as a parameter for Items.
func List(names []string) string {
	b, err := json.Marshal(names)
	if err != nil {
		panic(err) // strings are always encoded
	}
	return string(b)
}

// Digest reads a column.
func Digest(b []byte) (d schema.Digest, err error) {
	if len(b) != len(d) {
		return d, fmt.Errorf("a stored digest has %d bytes", len(b))
	}
	copy(d[:], b)
	return d, nil
}

// Timeouts of what a request waits for, and of a transaction: a database that hangs hangs nothing else.
const (
	AskTimeout   = 10 * time.Second
	WriteTimeout = 20 * time.Second
)

// Within is ctx with a timeout, unless it has a deadline already.
func Within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// Steps lead from one version of the tables to the next. What is released is never changed: a new step is appended.
type Steps []Step

// Step is the statements that lead to a version. From is the version before: 0 for an empty database.
type Step struct {
	From, To   int
	Statements string
}

// Newest is the version that all steps lead to.
func (s Steps) Newest() int { return s[len(s)-1].To }

// Pending are the steps from a version to the newest.
func (s Steps) Pending(version int) (pending Steps, err error) {
	for at := version; at != s.Newest(); {
		from := at
		for _, step := range s {
			if step.From == at {
				pending, at = append(pending, step), step.To
				break
			}
		}
		if at == from {
			return nil, fmt.Errorf("it has version %d, this program reads %d: it was written by another bakehouse",
				version, s.Newest())
		}
	}
	return pending, nil
}
