// Package spool is what a remote site must not forget: the reports of its hosts that its centre has not taken yet, and
// what the centre told it. It is one SQLite file.
//
// A report is on disk when Add returns. Reports are numbered and handed on in their order. A host that reports what it
// reported before, but for the times, has one report in the spool and not one for each poll. When the spool is full,
// the newest report of a host takes the place of all its others, so there is always room for the newest of each host:
// what a host is in is never lost, what it was in between may be.
package spool

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory/sqldb"
	"bakehouse/serve/inventory/sqlite"
)

// MaxReports is how many reports are kept before those of a host are reduced to its newest.
const MaxReports = 50_000

var steps = sqldb.Steps{{From: 0, To: 1, Statements: `
CREATE TABLE reports (
	number INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL, at INTEGER NOT NULL, same TEXT NOT NULL,
	body TEXT NOT NULL
) STRICT;
CREATE INDEX reports_host ON reports (host, number);
CREATE TABLE hosts (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID`}}

// Spool is an open file. It is safe for concurrent use.
type Spool struct {
	db  *sqlite.DB
	max int

	mu         sync.Mutex // of what follows
	waiting    []*adding
	writing    bool
	stat       uplink.Spool
	superseded int64 // stored
}

type adding struct {
	report uplink.HostReport
	done   chan error // capacity 1
}

// Open opens or creates the file.
func Open(ctx context.Context, file string, most int) (*Spool, error) {
	db, err := sqlite.Open(ctx, file, steps)
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", file, err)
	}
	s := &Spool{db: db, max: most}
	text, err := s.State(ctx, supersededState)
	if err == nil {
		s.superseded, _ = strconv.ParseInt(text, 10, 64)
		err = s.count(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

const supersededState = "superseded"

// Close closes the file.
func (s *Spool) Close() error { return s.db.Close() }

// Add keeps a report, durably. Those that come at the same time share a transaction.
func (s *Spool) Add(ctx context.Context, r uplink.HostReport) error {
	a := &adding{r, make(chan error, 1)}
	s.mu.Lock()
	s.waiting = append(s.waiting, a)
	if !s.writing {
		s.writing = true
		go s.write()
	}
	s.mu.Unlock()
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write writes groups until none waits.
func (s *Spool) write() {
	for {
		s.mu.Lock()
		group := s.waiting
		s.waiting = nil
		if len(group) == 0 {
			s.writing = false
			s.mu.Unlock()
			return
		}
		held, superseded := s.stat.Reports, s.superseded
		s.mu.Unlock()
		var dropped, removed int64
		err := s.db.Write(context.Background(), func(tx sqldb.Tx) error {
			dropped, removed = 0, 0
			for i, a := range group {
				d, r, err := add(context.Background(), tx, a.report, held+i-int(removed) >= s.max)
				if err != nil {
					return err
				}
				dropped, removed = dropped+d, removed+r
			}
			if dropped == 0 {
				return nil
			}
			return tx.Exec(context.Background(), `INSERT INTO state (name, body) VALUES ($1, $2)
				ON CONFLICT (name) DO UPDATE SET body=excluded.body`, supersededState,
				strconv.FormatInt(superseded+dropped, 10))
		})
		if err == nil {
			s.mu.Lock()
			s.superseded += dropped
			s.mu.Unlock()
			err = s.count(context.Background())
		}
		if err != nil {
			err = fmt.Errorf("spool: %w", err)
		}
		for _, a := range group {
			a.done <- err
		}
	}
}

// add inserts a report. removed is how many others it takes the place of, dropped how many of those said something
// else.
func add(ctx context.Context, tx sqldb.Tx, r uplink.HostReport, full bool) (dropped, removed int64, err error) {
	same, err := essence(r)
	if err != nil {
		return 0, 0, err
	}
	var last int64
	var lastSame, lastBody string
	err = tx.Get(ctx, "SELECT number, same, body FROM reports WHERE host = $1 ORDER BY number DESC LIMIT 1",
		[]any{r.Host}, &last, &lastSame, &lastBody)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return 0, 0, err
	case lastSame == same || full:
		if r.Report.Details == nil { // as they were sent last, and that was with the one that goes
			var before uplink.HostReport
			if err := json.Unmarshal([]byte(lastBody), &before); err != nil {
				return 0, 0, err
			}
			r.Report.Details = before.Report.Details
		}
		query, first := "DELETE FROM reports WHERE host = $1 AND number >= $2", last
		if full {
			first = 0
		}
		if removed, err = tx.Change(ctx, query, r.Host, first); err != nil {
			return 0, 0, err
		}
		if dropped = removed; lastSame == same {
			dropped--
		}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return 0, 0, err
	}
	return dropped, removed, tx.Exec(ctx, "INSERT INTO reports (host, at, same, body) VALUES ($1,$2,$3,$4)", r.Host,
		r.At.Unix(), same, string(body))
}

// essence is equal for reports that say the same, but for when.
func essence(r uplink.HostReport) (string, error) {
	if r.Report.Details != nil {
		d := *r.Report.Details
		r.Report.Details = &d
	}
	r.Number, r.At, r.Address = 0, time.Time{}, ""
	r.Report.LastCheck, r.Report.NextCheck = time.Time{}, time.Time{}
	details := r.Report.Details
	r.Report.Details = nil
	b, err := json.Marshal(r)
	if err != nil || details == nil {
		return schema.DigestOf(b).Hex(), err
	}
	// What has details says more than what has none, even if all else is equal.
	more, err := json.Marshal(details)
	return schema.DigestOf(append(b, more...)).Hex(), err
}

// count brings the statistics up to date.
func (s *Spool) count(ctx context.Context) error {
	var n, oldest int64
	err := s.db.Get(ctx, "SELECT count(*), coalesce(min(at), 0) FROM reports", nil, &n, &oldest)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stat = uplink.Spool{Reports: int(n), Superseded: s.superseded}
	if n > 0 {
		s.stat.Oldest = time.Unix(oldest, 0).UTC()
	}
	return nil
}

// Stat says how much is kept.
func (s *Spool) Stat() uplink.Spool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stat
}

// Next are the oldest reports, of at most limit bytes as JSON, at least one if there is any.
func (s *Spool) Next(ctx context.Context, limit int) (list []uplink.HostReport, err error) {
	err = s.db.Each(ctx, "SELECT number, body FROM reports ORDER BY number LIMIT 500", nil,
		func(scan func(...any) error) error {
			var number int64
			var body string
			if err := scan(&number, &body); err != nil {
				return err
			}
			if limit -= len(body) + 32; limit < 0 && len(list) > 0 {
				return nil
			}
			var r uplink.HostReport
			if err := json.Unmarshal([]byte(body), &r); err != nil {
				return err
			}
			r.Number = number
			list = append(list, r)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return list, nil
}

// Done forgets the reports up to a number: the centre has them.
func (s *Spool) Done(ctx context.Context, number int64) error {
	err := s.db.Write(ctx, func(tx sqldb.Tx) error {
		return tx.Exec(ctx, "DELETE FROM reports WHERE number <= $1", number)
	})
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return s.count(ctx)
}

// State is what SetState kept under a name; empty: nothing.
func (s *Spool) State(ctx context.Context, name string) (body string, err error) {
	err = s.db.Get(ctx, "SELECT body FROM state WHERE name = $1", []any{name}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		err = fmt.Errorf("spool: %s: %w", name, err)
	}
	return body, err
}

// SetState keeps something, durably.
func (s *Spool) SetState(ctx context.Context, name, body string) error {
	err := s.db.Write(ctx, func(tx sqldb.Tx) error {
		return tx.Exec(ctx, `INSERT INTO state (name, body) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET body=excluded.body`, name, body)
	})
	if err != nil {
		return fmt.Errorf("spool: %s: %w", name, err)
	}
	return nil
}

// Hosts are the registrations that SetHosts kept.
func (s *Spool) Hosts(ctx context.Context) (map[string]uplink.Registration, error) {
	hosts := map[string]uplink.Registration{}
	err := s.db.Each(ctx, "SELECT body FROM hosts", nil, func(scan func(...any) error) error {
		var body string
		var h uplink.Registration
		err := scan(&body)
		if err == nil {
			err = json.Unmarshal([]byte(body), &h)
		}
		hosts[h.Host] = h
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("spool: hosts: %w", err)
	}
	return hosts, nil
}

// SetHosts keeps registrations, durably, and forgets others.
func (s *Spool) SetHosts(ctx context.Context, hosts []uplink.Registration, gone []string) error {
	err := s.db.Write(ctx, func(tx sqldb.Tx) error {
		for _, name := range gone {
			if err := tx.Exec(ctx, "DELETE FROM hosts WHERE name = $1", name); err != nil {
				return err
			}
		}
		for _, h := range hosts {
			body, err := json.Marshal(h)
			if err == nil {
				err = tx.Exec(ctx, `INSERT INTO hosts (name, body) VALUES ($1, $2)
					ON CONFLICT (name) DO UPDATE SET body=excluded.body`, h.Host, string(body))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("spool: hosts: %w", err)
	}
	return nil
}
