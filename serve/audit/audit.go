// Package audit is the log of who did what to registrations, tokens and the rollout, and from where. Each event is a
// line in the inventory, bounded there by age and number, and a line of JSON to syslog or a file if the operator wants
// it. It has no secret in it: tokens are named by their IDs.
package audit

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
)

// What happens.
const (
	Registered   = "registered"
	Replaced     = "replaced"     // a registration that the host polled with
	Refused      = "refused"      // a registration: by a user or token that is right, and may not
	Unregistered = "unregistered" // by the host itself
	Revoked      = "revoked"      // a registration
	Forgotten    = "forgotten"    // all that is known of a host
	TokenCreated = "token-created"
	TokenRevoked = "token-revoked"
	RolloutActed = "rollout"
	Published    = "published" // a root or a timestamp, through the server
	SignedIn     = "signed-in"
	Failed       = "failed" // a password or token was wrong; bounded
)

// Actor is who does something: a user of the fleet, or whoever has the server's files.
type Actor struct {
	Name string       // of the user, or "@" and that of the machine's user
	From string       // address; empty: on the machine
	User *schema.User // nil: nothing bounds what it may do
}

// May reports whether a has a permission for a host.
func (a Actor) May(permission, host string) bool {
	return a.User == nil || a.User.Allows(permission, host)
}

// Has reports whether a has a permission for any host at all.
func (a Actor) Has(permission string) bool {
	return a.User == nil || len(a.User.Permissions[permission]) > 0
}

// Store keeps events; *inventory.DB is one.
type Store interface {
	Append(ctx context.Context, events ...inventory.Event) error
	Events(ctx context.Context, since time.Time, limit int) ([]inventory.Event, error)
}

// Log records events. Make it with New. It is safe for concurrent use.
type Log struct {
	store Store
	log   *slog.Logger

	mu     sync.Mutex // also keeps the lines of the sink whole
	sink   io.Writer  // may be nil
	failed map[failure]*failures
	since  time.Time // when the minute began that the next counts lines of, by what happens
	minute map[string]int
}

// failure is what failed attempts are summed up by.
type failure struct{ what, who, from string }

type failures struct {
	last   time.Time
	untold int
}

// Failed attempts cost a line only so often: strangers must not fill the log.
const (
	failureEvery  = 10 * time.Minute // for each name and address
	failureMinute = 30               // lines in a minute, of all
	maxFailures   = 10_000           // names and addresses that are told apart
)

// New makes a log. sink takes each event as one line of JSON; it may be nil.
func New(store Store, sink io.Writer, log *slog.Logger) *Log {
	return &Log{store: store, sink: sink, log: log, failed: map[failure]*failures{},
		minute: map[string]int{}}
}

// Reopen has the sink look for its file again, if it can: it may have been moved away to start a new one.
func (l *Log) Reopen() {
	if s, ok := l.sink.(interface{ Reopen() error }); ok {
		if err := s.Reopen(); err != nil {
			l.log.Error("the audit log could not be opened again", "error", err)
		}
	}
}

// Record writes an event. What it tells of has happened: if it cannot be written, the server's log says so.
func (l *Log) Record(ctx context.Context, e inventory.Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.At = e.At.UTC().Truncate(time.Second)
	// An answer that nobody waits for any more is no reason to lose the line.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := l.store.Append(ctx, e); err != nil {
		l.log.Error("the audit log could not be written", "error", err, "what", e.What, "who", e.Who, "host", e.Host)
	}
	l.write(e)
}

func (l *Log) write(e inventory.Event) {
	if l.sink == nil {
		return
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // our own type
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.sink.Write(append(b, '\n')); err != nil {
		l.log.Error("the audit log could not be written", "error", err, "to", "--audit-log")
	}
}

// Sum records what can be repeated at will, Failed, Refused or SignedIn, or counts it with others of the same name and
// address until the next line is due.
func (l *Log) Sum(ctx context.Context, what string, e inventory.Event) {
	e.What = what
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if e, due := l.due(e); due {
		l.Record(ctx, e)
	}
}

func (l *Log) due(e inventory.Event) (inventory.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.At.Sub(l.since) >= time.Minute {
		l.since, l.minute = e.At, map[string]int{}
	}
	key := failure{e.What, e.Who, e.From}
	f := l.failed[key]
	if f == nil {
		if len(l.failed) >= maxFailures {
			l.drop(e.At)
		}
		f = &failures{}
		l.failed[key] = f
	}
	f.untold++
	if e.At.Sub(f.last) < failureEvery || l.minute[e.What] >= failureMinute {
		return e, false
	}
	if l.minute[e.What]++; f.untold > 1 {
		e.Count = f.untold
	}
	f.last, f.untold = e.At, 0
	return e, true
}

// drop forgets what is old, or else anything: an attacker with that many addresses is in the log already.
func (l *Log) drop(now time.Time) {
	for key, f := range l.failed {
		if now.Sub(f.last) >= failureEvery {
			delete(l.failed, key)
		}
	}
	for key := range l.failed {
		if len(l.failed) < maxFailures {
			return
		}
		delete(l.failed, key)
	}
}

// Events lists what was recorded since a time, at most the last limit events, the oldest of them first.
func (l *Log) Events(ctx context.Context, since time.Time, limit int) ([]inventory.Event, error) {
	return l.store.Events(ctx, since, limit)
}
