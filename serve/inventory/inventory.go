// Package inventory remembers what hosts told a server: who is registered, what each last reported, and which
// packages each was once given. It is the only state of a server that its store does not hold.
//
// It is one SQLite file, or a PostgreSQL database that several servers share. A registration is on disk when Register
// returns, since the host keeps the secret for good. Reports are not worth a sync each: they are queued and written in
// groups, one transaction for all that came while the last was being written, and the newest report of a host replaces
// a queued older one. A crash loses at most the queue, and the hosts' next polls bring it again.
package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory/aside"
	"bakehouse/serve/inventory/sqldb"
)

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

// Host is all that is known of a registered host. Seen is zero before its first poll.
type Host struct {
	Registration
	End  End
	Seen Seen
}

// End is how a registration ended: its secret counts no longer. What is known of the host stays until it is forgotten.
type End struct {
	How string // one of the constants below; empty: it has not ended
	By  string // who, as in Event.Who
	At  time.Time
}

// How a registration ends.
const (
	Revoked      = "revoked"      // by a user
	Unregistered = "unregistered" // by the host itself
)

// DB is an open inventory. It is safe for concurrent use; several processes may share the database.
type DB struct {
	db sqldb.Database

	asides   aside.Queue
	flushing sync.Mutex // held while what is queued is written, and while registrations end or move

	reading sync.Mutex // held while changes are read
	number  int64      // of the last change that is remembered; -1: none is

	mu      sync.Mutex
	queue   map[string]Seen
	memory  map[string]memo
	doubts  map[string]doubt
	own     map[int64]bool // changes by this server that it has not read back
	failed  error          // of the last group; told at the next Report
	wake    chan struct{}  // capacity 1
	closing chan struct{}
	done    chan struct{}
}

// Created reports whether Open made the database: no host is registered in it.
func (d *DB) Created() bool { return d.db.Created() }

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error {
	var n int
	return d.db.Get(ctx, "SELECT count(*) FROM (SELECT 1 FROM hosts LIMIT 1) AS one", nil, &n)
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
