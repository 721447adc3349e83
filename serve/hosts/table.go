package hosts

import (
	"container/heap"
	"slices"
	"strings"
	"sync"
	"time"

	"bakehouse/schema"
)

// Table has all hosts of a fleet in memory, each with its state, which follows what is published, what hosts report and
// the clock. Counts are kept, not made: a change of one host moves two counters. Reading it costs no query of a
// database; the site, ring and target of a host come from signed metadata and its state from the clock, so that a
// database could not answer without a copy of them anyway. It is safe for concurrent use.
type Table struct {
	// Changed, if set, is told of each host whose state or installed release changes, but of what is loaded.
	Changed func(Change)
	// Retire, if set, is told of each registered host that has been silent for as long as signed policy lets it be.
	Retire func(host string)
	now    func() time.Time

	mu       sync.RWMutex
	policy   *schema.Policy
	retire   *schema.Retirement
	newest   int64
	rows     []*entry // by name
	names    map[string]*entry
	dims     [dimensions]values
	cells    map[cell]int
	groups   map[group]int
	programs map[string]int
	packages map[schema.Digest]int // hosts that are meant to have it
	due      timeouts
	gate     func(ring string, release int64) Gate // nil: none is held
	silent   map[string]time.Time                  // last contact of silent sites
	shape    int                                   // counts changes of which hosts there are
	unsorted bool                                  // rows are, or have some that are gone
	scopesMu sync.Mutex
	scopes   map[string]*scope // guarded by scopesMu
}

// Change is that a host's state or installed release is another one.
type Change struct {
	Host    string
	At      time.Time
	State   State
	Code    string
	Release int64 // installed; 0: none
	Text    string
}

// New returns an empty table. now is the clock; nil: time.Now.
func New(now func() time.Time) *Table {
	if now == nil {
		now = time.Now
	}
	return &Table{now: now, policy: &schema.Policy{}, names: map[string]*entry{}, cells: map[cell]int{},
		groups: map[group]int{}, programs: map[string]int{}, packages: map[schema.Digest]int{},
		scopes: map[string]*scope{}}
}

// chunk is how many hosts are looked at before others may.
const chunk = 2000

// Publish takes what a release signs: the policy, when registrations retire, and what each host is given. newest is the
// release's number.
func (t *Table) Publish(p *schema.Policy, retire *schema.Retirement, hosts map[string]*schema.Assignment,
	newest int64) {
	t.mu.Lock()
	t.policy, t.retire, t.newest = p, retire, newest
	t.packages = map[schema.Digest]int{}
	for name, a := range hosts {
		if t.names[name] == nil {
			t.add(name)
		}
		t.packages[a.SHA256]++
	}
	t.sort()
	rows := slices.Clone(t.rows)
	t.mu.Unlock()
	t.each(rows, func(e *entry) {
		e.assigned = hosts[e.name]
		t.settle(e, t.now(), true)
	})
}

// each does something with hosts, and lets others at the table in between.
func (t *Table) each(rows []*entry, do func(*entry)) {
	for part := range slices.Chunk(rows, chunk) {
		t.mu.Lock()
		for _, e := range part {
			if !e.gone {
				do(e)
			}
		}
		t.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sort()
}

// Gates takes how rings are held back from releases: gate is asked with a ring's name and the newest release that a
// host
// of it is given. Hosts for whom the answer is another one than before are looked at again.
func (t *Table) Gates(gate func(ring string, release int64) Gate) {
	t.mu.Lock()
	before := t.gate
	t.gate = gate
	rows := slices.Clone(t.rows)
	t.mu.Unlock()
	changed := map[place]bool{}
	t.each(rows, func(e *entry) {
		if e.assigned == nil {
			return
		}
		at := place{e.assigned.Ring, e.assigned.Release}
		again, known := changed[at]
		if !known {
			again = before == nil || before(at.ring, at.release) != gate(at.ring, at.release)
			changed[at] = again
		}
		if again {
			t.settle(e, t.now(), true)
		}
	})
}

// place is a ring and a release.
type place struct {
	ring    string
	release int64
}

// Sites are the silent ones, with the time when each was last heard of.
func (t *Table) Sites(silent map[string]time.Time) {
	t.mu.Lock()
	before := t.silent
	t.silent = silent
	rows := slices.Clone(t.rows)
	t.mu.Unlock()
	t.each(rows, func(e *entry) {
		if e.assigned != nil && !before[e.assigned.Site].Equal(silent[e.assigned.Site]) {
			t.settle(e, t.now(), true)
		}
	})
}

// Registration is that of a host.
type Registration struct {
	At       time.Time
	User     string
	Platform schema.Platform
	Program  string
	Retired  time.Time // it was, for silence: it counts no longer
}

// Load takes what an inventory knew of a host before, unless it is known already. Last is the last change of
// its state that is recorded: it says since when the host is in it, if it still is.
func (t *Table) Load(host string, r Registration, seen time.Time, report *schema.Report, last Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.names[host]
	if e != nil && (e.registered != 0 || e.retired != 0) {
		return
	}
	if e == nil {
		e = t.add(host)
	}
	t.learn(e, func(k *known) {
		k.register(r)
		if !seen.IsZero() {
			k.seen = nanos(seen)
			k.take(Summary(report))
		}
	})
	t.settle(e, t.now(), false)
	if last.State == e.verdict {
		e.since = nanos(last.At)
	}
}

// Loaded ends what Load began.
func (t *Table) Loaded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sort()
}

// Register takes a registration, in the place of one before it.
func (t *Table) Register(host string, r Registration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.names[host]
	if e == nil {
		e = t.add(host)
	}
	t.learn(e, func(k *known) {
		k.register(r)
		k.cloned = false
	})
	t.settle(e, t.now(), true)
	t.sort()
}

func (k *known) register(r Registration) {
	k.registered, k.user, k.retired = nanos(r.At), same(r.User), nanos(r.Retired)
	if k.platform == (schema.Platform{}) {
		k.platform = schema.Platform{OS: same(r.Platform.OS), Arch: same(r.Platform.Arch)}
	}
	if k.program == "" {
		k.program = same(r.Program)
	}
	if k.retired != 0 {
		k.registered = 0
	}
}

// learn changes what is known of a host.
func (t *Table) learn(e *entry, do func(*known)) {
	add(t.programs, e.program, -1)
	do(&e.known)
	add(t.programs, e.program, 1)
}

// Forget ends a registration; nothing is known of the host after that. Retired says that it was for silence.
func (t *Table) Forget(host string, retired bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.names[host]
	if e == nil {
		return
	}
	t.learn(e, func(k *known) {
		*k = unknown()
		if retired {
			k.retired = nanos(t.now())
		}
	})
	t.settle(e, t.now(), true)
	t.sort()
}

// Rename moves what is known of a host to its new name.
func (t *Table) Rename(was, now string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.names[was]
	if old == nil || old.registered == 0 || was == now {
		return
	}
	e := t.names[now]
	if e == nil {
		e = t.add(now)
	}
	t.learn(e, func(k *known) { *k = old.known })
	t.learn(old, func(k *known) { *k = unknown() })
	t.settle(e, t.now(), true)
	t.settle(old, t.now(), true)
	t.sort()
}

// Poll takes what a host reported at its poll.
func (t *Table) Poll(host string, at time.Time, report *schema.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.names[host]
	if e == nil || e.registered == 0 {
		return
	}
	r := Summary(report)
	if report.Details == nil { // as they were sent last
		r.Interval, r.Drift, r.Paused = time.Duration(e.interval)*time.Second, e.drift, e.paused
	}
	before := e.seen
	e.seen = nanos(at)
	if before != 0 && e.verdict != Overdue && e.verdict != NotKnown && e.equal(&r) {
		return // its time in the heap is too early, which is found out then
	}
	if e.installed.Value() != r.Installed {
		e.due = 0
	}
	t.learn(e, func(k *known) { k.take(r) })
	t.settle(e, t.now(), true)
}

func (e *entry) equal(r *Report) bool {
	return e.state == r.State && e.code == r.Code && e.err == r.Error && e.installed.Value() == r.Installed &&
		e.target.Value() == r.Target && e.downloaded.Value() == r.Downloaded && e.release == r.Release &&
		e.program == r.Program && e.updated == nanos(r.Updated) && e.heldSince == nanos(r.HeldSince) &&
		e.critical == r.Critical && e.drift == r.Drift && e.paused == r.Paused &&
		int64(e.interval) == int64(r.Interval/time.Second) && (r.Platform == e.platform ||
		r.Platform == schema.Platform{})
}

// Cloned says that two machines use a host's registration.
func (t *Table) Cloned(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.names[host]; e != nil && !e.cloned {
		e.cloned = true
		t.settle(e, t.now(), true)
	}
}

// Tick lets the clock change what it changes: hosts become overdue, turns come, pauses end, registrations retire.
func (t *Table) Tick() {
	now := t.now()
	for more := true; more; {
		more = t.tick(now)
	}
}

func (t *Table) tick(now time.Time) (more bool) {
	var retired []string
	t.mu.Lock()
	for range chunk {
		if more = len(t.due) > 0 && t.due[0].until <= now.UnixNano(); !more {
			break
		}
		e := t.due[0]
		if after := t.retires(e); after != 0 && after <= now.UnixNano() && t.Retire != nil {
			retired = append(retired, e.name)
			e.until = now.Add(time.Hour).UnixNano() // again, if that fails
			heap.Fix(&t.due, e.slot)
			continue
		}
		t.settle(e, now, true)
	}
	t.mu.Unlock()
	for _, name := range retired {
		t.Retire(name)
	}
	return more
}

// retires is when a host's registration retires if it stays silent; 0: never.
func (t *Table) retires(e *entry) int64 {
	if e.registered == 0 {
		return 0
	}
	after := t.retire.After(e.name)
	if after == 0 {
		return 0
	}
	return max(e.seen, e.registered) + int64(after)
}

func (t *Table) facts(e *entry) Facts {
	f := Facts{Assigned: e.assigned, Policy: t.policy, Registered: timeOf(e.registered), Seen: timeOf(e.seen),
		Report: e.report(), Due: timeOf(e.due), Cloned: e.cloned, Retired: timeOf(e.retired)}
	if e.assigned != nil {
		f.SiteContact = t.silent[e.assigned.Site]
		if t.gate != nil {
			f.Gate = t.gate(e.assigned.Ring, e.assigned.Release)
		}
	}
	return f
}

// settle derives what follows from what is known of e, and moves its counters. A host that neither git nor a
// registration knows leaves the table.
func (t *Table) settle(e *entry, now time.Time, live bool) {
	if e.assigned == nil && e.registered == 0 {
		t.remove(e)
		return
	}
	fresh := e.verdict == ""
	before, code, release := e.verdict, e.why, e.cell[byRelease]
	v := Classify(t.facts(e), now)
	if live && !v.Due.IsZero() && (before == UpToDate || before == Waiting) {
		// It becomes due now: the switch, a selection or a gate let it, whenever its package was published.
		e.due = now.UnixNano()
		v = Classify(t.facts(e), now)
	}
	e.due = nanos(v.Due)
	if !fresh {
		t.count(e, -1)
	}
	e.verdict, e.why, e.rank = v.State, same(v.Code), ranks[v.State]
	for d := range dimensions {
		e.cell[d] = t.dims[d].of(e.value(d, t.newest))
	}
	e.group = e.groupOf()
	t.count(e, 1)
	if before != e.verdict || code != e.why {
		if e.since = nanos(v.Since); live && !fresh {
			e.since = now.UnixNano()
		}
	}
	if live && t.Changed != nil && !fresh && (before != e.verdict || release != e.cell[byRelease]) {
		t.Changed(Change{Host: e.name, At: now, State: e.verdict, Code: e.why, Release: e.release, Text: e.err})
	}
	until := nanos(v.Until)
	if at := t.retires(e); at != 0 && (until == 0 || at < until) {
		until = at
	}
	e.until = until
	switch {
	case until == 0 && e.slot >= 0:
		heap.Remove(&t.due, e.slot)
	case until != 0 && e.slot >= 0:
		heap.Fix(&t.due, e.slot)
	case until != 0:
		heap.Push(&t.due, e)
	}
}

func (t *Table) count(e *entry, by int) {
	add(t.cells, e.cell, by)
	if e.group != (group{}) {
		add(t.groups, e.group, by)
	}
}

func add[K comparable](m map[K]int, k K, by int) {
	if m[k] += by; m[k] <= 0 {
		delete(m, k)
	}
}

// add makes an entry, which sort puts into its place.
func (t *Table) add(name string) *entry {
	e := &entry{name: strings.Clone(name), known: unknown(), slot: -1}
	t.names[e.name] = e
	t.rows = append(t.rows, e)
	t.shape++
	t.unsorted = true
	t.programs[""]++
	return e
}

func (t *Table) remove(e *entry) {
	if e.gone {
		return
	}
	delete(t.names, e.name)
	add(t.programs, e.program, -1)
	if e.verdict != "" {
		t.count(e, -1)
	}
	if e.slot >= 0 {
		heap.Remove(&t.due, e.slot)
	}
	e.gone, t.unsorted = true, true
	t.shape++
}

// sort brings rows into order after changes of which hosts there are.
func (t *Table) sort() {
	if !t.unsorted {
		return
	}
	rows := make([]*entry, 0, len(t.names))
	for _, e := range t.rows {
		if !e.gone {
			rows = append(rows, e)
		}
	}
	slices.SortFunc(rows, byName)
	t.rows, t.unsorted = rows, false
	t.shape++
}

func byName(a, b *entry) int { return strings.Compare(a.name, b.name) }

// timeouts is a heap of hosts by until.
type timeouts []*entry

func (h timeouts) Len() int           { return len(h) }
func (h timeouts) Less(i, j int) bool { return h[i].until < h[j].until }
func (h timeouts) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}
func (h *timeouts) Push(x any) {
	e := x.(*entry)
	e.slot = len(*h)
	*h = append(*h, e)
}
func (h *timeouts) Pop() any {
	e := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	e.slot = -1
	return e
}
