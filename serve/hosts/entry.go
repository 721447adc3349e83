package hosts

import (
	"cmp"
	"strconv"
	"time"
	"unique"

	"bakehouse/schema"
)

// entry is a host in the Table. There are a hundred thousand: what is equal in many is stored once.
type entry struct {
	name     string
	gone     bool               // it is in the table no longer
	assigned *schema.Assignment // nil: git has no such host
	known

	// What follows is derived.
	verdict State
	why     string // code of the verdict
	rank    uint8
	since   int64 // in this state
	due     int64 // since when it may install; 0: it may not
	until   int64 // when the clock changes something
	slot    int   // in the heap; -1: not in it
	cell    cell
	group   group
}

// known is what a registration and reports say of a host.
type known struct {
	registered int64 // nanoseconds since 1970, as all times here; 0: not
	seen       int64
	retired    int64 // its registration was, for silence; 0: it was not
	user       string
	platform   schema.Platform

	state, code, err, program     string
	target, downloaded, installed unique.Handle[schema.Digest]
	release                       int64
	updated, heldSince            int64
	interval                      uint32 // seconds
	critical, drift, cloned       bool
	paused                        *schema.Pause
}

var nothing = unique.Make(schema.Digest{})

// unknown is known of a host that is not registered.
func unknown() known { return known{target: nothing, downloaded: nothing, installed: nothing} }

func nanos(t time.Time) int64 {
	if t.IsZero() || t.Year() < 1970 || t.Year() > 2200 { // claimed by hosts, too
		return 0
	}
	return t.UnixNano()
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// same is s as all others that are equal have it.
func same(s string) string { return unique.Make(s).Value() }

func (e *known) take(r Report) {
	e.state, e.code, e.err, e.program = same(r.State), same(r.Code), same(r.Error), same(r.Program)
	e.target, e.downloaded, e.installed = unique.Make(r.Target), unique.Make(r.Downloaded), unique.Make(r.Installed)
	e.release, e.updated, e.heldSince = r.Release, nanos(r.Updated), nanos(r.HeldSince)
	e.interval, e.critical, e.drift, e.paused = uint32(r.Interval/time.Second), r.Critical, r.Drift, r.Paused
	if r.Platform != (schema.Platform{}) {
		e.platform = schema.Platform{OS: same(r.Platform.OS), Arch: same(r.Platform.Arch)}
	}
}

func (e *known) report() Report {
	return Report{State: e.state, Code: e.code, Error: e.err, Target: e.target.Value(),
		Downloaded: e.downloaded.Value(),
		Installed:  e.installed.Value(), Release: e.release, Interval: time.Duration(e.interval) * time.Second,
		Updated: timeOf(e.updated), HeldSince: timeOf(e.heldSince), Critical: e.critical, Drift: e.drift,
		Paused:  e.paused,
		Program: e.program, Platform: e.platform}
}

// row is the host as lists show it.
func (e *entry) row(v Verdict) Row {
	r := Row{Name: e.name, State: e.verdict, Code: e.why, Why: v.Why, Next: v.Next, Since: timeOf(e.since),
		Turn:  v.Turn,
		Marks: v.Marks, Platform: e.platform, Program: e.program, Downloaded: e.downloaded.Value(),
		Installed: e.installed.Value(), Release: e.release, Checked: timeOf(e.seen), Updated: timeOf(e.updated),
		Error: e.err, Critical: e.critical}
	if a := e.assigned; a != nil {
		r.Site, r.Ring, r.Target, r.TargetRelease = a.Site, a.Ring, a.SHA256, a.Release
	}
	return r
}

// None is the value of ?ring= and ?release= for hosts that have none.
const None = "none"

// The dimensions by which hosts are counted.
const (
	byState = iota
	byRing
	bySite
	byRelease
	byPlatform
	dimensions
)

// cell is a host's value in each dimension, by number.
type cell [dimensions]uint32

// values numbers the values of a dimension.
type values struct {
	number map[string]uint32
	name   []string
}

func (v *values) of(s string) uint32 {
	n, ok := v.number[s]
	if !ok {
		if v.number == nil {
			v.number = map[string]uint32{}
		}
		n = uint32(len(v.name))
		s = same(s)
		v.number[s], v.name = n, append(v.name, s)
	}
	return n
}

// value is what e has in a dimension. What a host may claim freely is bounded: there is no counter for each number
// that somebody makes up.
func (e *entry) value(dimension int, newest int64) string {
	switch dimension {
	case byState:
		return string(e.verdict)
	case byRing:
		if e.assigned != nil {
			return cmp.Or(e.assigned.Ring, None)
		}
		return None
	case bySite:
		if e.assigned != nil {
			return e.assigned.Site
		}
	case byRelease:
		if e.release > 0 && e.release <= newest {
			return strconv.FormatInt(e.release, 10)
		}
		return None
	case byPlatform:
		if len(e.platform.Formats()) > 0 {
			return e.platform.String()
		}
	}
	return ""
}

// group is what hosts that wait, or need a look, have in common.
type group struct {
	state State
	code  string
	cause string
}

// groupOf is the group of a host; zero: it has none.
func (e *entry) groupOf() group {
	switch e.verdict {
	case UpToDate, Updating, NotInGit:
		return group{}
	case Unregistered:
		if e.retired != 0 {
			return group{}
		}
	}
	g := group{state: e.verdict, code: e.why}
	switch e.verdict {
	case Rejected, Failed, Withheld, Blocked:
		g.cause = e.err
	case Overdue, NotKnown:
		if e.assigned != nil {
			g.cause = e.assigned.Site
		}
	}
	return g
}

// ranks order hosts by what needs a person first.
var ranks = map[State]uint8{Rejected: 0, Failed: 1, Overdue: 2, Blocked: 3, Withheld: 4, NotKnown: 5, Unregistered: 6,
	Waiting: 7, Updating: 8, UpToDate: 9, NotInGit: 10}
