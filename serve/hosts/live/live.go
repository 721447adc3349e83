// Package live keeps a table of hosts in step with what happens: it stands before the inventory, so that nothing is
// recorded there that the table does not hear of, reads at the start what was recorded before, and writes down what
// only
// the table knows: the changes of each host, and how far the fleet is, each quarter of an hour.
package live

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bakehouse/serve/hosts"
	"bakehouse/serve/inventory"
	"bakehouse/serve/notice"
	"bakehouse/serve/origin"
)

// Inventory is what stands behind; *inventory.DB is one.
type Inventory interface {
	All(ctx context.Context) iter.Seq2[inventory.Host, error]
	Host(ctx context.Context, name string) (*inventory.Host, error)
	Register(ctx context.Context, r inventory.Registration, c inventory.Claim, was ...string) (*inventory.Host, error)
	Rename(ctx context.Context, was, now string) error
	Report(host string, s inventory.Seen) error
	End(ctx context.Context, host string, e inventory.End) error
	Forget(ctx context.Context, host string) error
	notice.Meeter
	AddPast(ctx context.Context, changes ...inventory.Past) error
	LastPast(ctx context.Context) (map[string]inventory.Past, error)
	AddPoint(ctx context.Context, p inventory.Point) error
	Number(ctx context.Context) (int64, error)
	Changes(ctx context.Context, after int64) (*inventory.Changes, error)
}

// Retired is how a registration ends by the folder's retireAfter.
const Retired = "retired"

// Live is an inventory with a table that follows it. Make it with New.
type Live struct {
	Inventory
	Table *hosts.Table
	log   *slog.Logger
	now   func() time.Time

	loaded  atomic.Bool
	number  int64 // of the last change that the table has
	mu      sync.Mutex
	changes []inventory.Past // to be recorded
	newest  int64
	last    time.Time // of the last point
}

// New returns a table for i, which the first release fills with what i knows.
func New(i Inventory, log *slog.Logger, now func() time.Time) *Live {
	l := &Live{Inventory: i, Table: hosts.New(now), log: log, now: now}
	l.Table.Changed = l.changed
	l.Table.Retire = l.retire
	return l
}

// Loaded reports whether the table has all that was recorded before: until then its counts are wrong.
func (l *Live) Loaded() bool { return l.loaded.Load() }

// Publish takes a verified release.
func (l *Live) Publish(r *origin.Release) {
	newest := int64(0)
	for _, a := range r.Hosts {
		newest = max(newest, a.Release)
	}
	if r.Info != nil {
		newest = max(newest, r.Info.Number)
	}
	l.mu.Lock()
	l.newest = newest
	l.mu.Unlock()
	l.Table.Publish(r.Policy, r.Access.Retirement, r.Hosts, newest)
	if !l.Loaded() {
		if err := l.Load(context.Background()); err != nil {
			l.log.Error("inventory", "error", err) // whoever needs it asks Loaded
		}
	}
}

// Load reads what is recorded.
func (l *Live) Load(ctx context.Context) error {
	last, err := l.LastPast(ctx)
	if err == nil {
		l.number, err = l.Number(ctx)
	}
	if err != nil {
		return err
	}
	for h, err := range l.All(ctx) {
		if err != nil {
			return err
		}
		r := registration(&h)
		if r.At.IsZero() && r.Retired.IsZero() {
			continue // ended
		}
		p := last[h.Host]
		l.Table.Load(h.Host, r, h.Seen.At, &h.Seen.Report, hosts.Change{State: hosts.State(p.State), At: p.At})
	}
	l.Table.Loaded()
	l.loaded.Store(true)
	return nil
}

// registration is what counts of one; it is zero if it ended, but for silence.
func registration(h *inventory.Host) hosts.Registration {
	r := hosts.Registration{At: h.At, User: h.User, Platform: h.Platform, Program: h.Agent}
	switch h.End.How {
	case "":
	case Retired:
		r.Retired = h.End.At
	default:
		return hosts.Registration{}
	}
	return r
}

// Step lets the clock change what it changes, and records what is to be recorded.
func (l *Live) Step(ctx context.Context) {
	l.Table.Tick()
	l.mu.Lock()
	changes, newest := l.changes, l.newest
	l.changes = nil
	l.mu.Unlock()
	var err error
	for len(changes) > 0 && err == nil {
		n := min(len(changes), 1000)
		err = l.AddPast(ctx, changes[:n]...)
		changes = changes[n:]
	}
	const quarter = 15 * time.Minute
	if at := l.now().UTC().Truncate(quarter); l.Loaded() && l.point(at) {
		c := l.Table.Counts(hosts.Filter{})
		err = errors.Join(err, l.AddPoint(ctx, inventory.Point{At: at, Release: newest, Hosts: c.Newest,
			Total: c.Total}))
	}
	if err != nil {
		l.log.Error("inventory", "error", err) // history has a hole; nothing else hangs on it
	}
}

// point reports whether the point of that time is to be written.
func (l *Live) point(at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.Equal(at) {
		return false
	}
	l.last = at
	return true
}

// maxChanges is how many changes wait to be recorded; more are dropped, the oldest first.
const maxChanges = 200_000

func (l *Live) changed(c hosts.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changes = append(l.changes, inventory.Past{Host: c.Host, At: c.At, State: string(c.State), Code: c.Code,
		Release: c.Release, Text: c.Text}); len(l.changes) > maxChanges {
		l.changes = l.changes[1:]
	}
}

// retire ends a registration for silence.
func (l *Live) retire(host string) {
	err := l.End(context.Background(), host, inventory.End{How: Retired, By: "retireAfter", At: l.now()})
	if err != nil {
		l.log.Error("inventory", "error", err)
		return
	}
	l.log.Info("a registration was retired for silence, by the folder's retireAfter", "host", host)
}

// Register implements the inventory's.
func (l *Live) Register(ctx context.Context, r inventory.Registration, c inventory.Claim, was ...string) (
	before *inventory.Host, err error,
) {
	before, err = l.Inventory.Register(ctx, r, c, was...)
	if err == nil {
		l.Table.Register(r.Host, hosts.Registration{At: r.At, User: r.User, Platform: r.Platform, Program: r.Agent})
	}
	return before, err
}

// Rename implements the inventory's.
func (l *Live) Rename(ctx context.Context, was, now string) error {
	err := l.Inventory.Rename(ctx, was, now)
	if err == nil {
		if h, err := l.Host(ctx, now); err == nil && h.End.How == "" {
			l.Table.Rename(was, now)
		}
	}
	return err
}

// Report implements the inventory's.
func (l *Live) Report(host string, s inventory.Seen) error {
	l.Table.Poll(host, s.At, &s.Report)
	return l.Inventory.Report(host, s)
}

// End implements the inventory's.
func (l *Live) End(ctx context.Context, host string, e inventory.End) error {
	err := l.Inventory.End(ctx, host, e)
	if err == nil {
		l.Table.Forget(host, e.How == Retired)
	}
	return err
}

// Forget implements the inventory's.
func (l *Live) Forget(ctx context.Context, host string) error {
	err := l.Inventory.Forget(ctx, host)
	if err == nil {
		l.Table.Forget(host, false)
	}
	return err
}

// Meet implements the inventory's.
func (l *Live) Meet(ctx context.Context, host string, m inventory.Machine) ([]inventory.Machine, error) {
	before, err := l.Inventory.Meet(ctx, host, m)
	for _, b := range before {
		if b.ID == m.ID && before[0].ID != m.ID { // it reported before, and another one since
			l.Table.Cloned(host)
		}
	}
	return before, err
}
