package hosts

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// Codes of states, beside those of package outcome and of schema.Policy.Decide.
const (
	CodeUnregistered = "unregistered"
	CodeRetired      = "retired" // its registration was, for silence
	CodeNew          = "new"     // it is registered, and has installed nothing yet
	CodeSilent       = "silent"  // no poll for too long
	CodeLate         = "late"    // it polls, and does not install what it may
	CodeSiteSilent   = "site-silent"
	CodeGate         = "gate" // the gate of its ring is not open
	CodeNotInGit     = "not-in-git"
)

// DefaultInterval is between two checks of a host that has not said what its own is.
const DefaultInterval = time.Hour

// Silence is for how long a host with that interval may not poll before it is overdue.
func Silence(interval time.Duration) time.Duration { return max(3*interval, 15*time.Minute) }

// Grace is for how long a host with that interval may leave what it may install.
func Grace(interval time.Duration) time.Duration { return 2*interval + 30*time.Minute }

// Facts are what is known of a host.
type Facts struct {
	Assigned    *schema.Assignment // signed; nil: git has no such host
	Policy      *schema.Policy     // signed
	Registered  time.Time          // zero: it is not
	Seen        time.Time          // its last poll, by the server's clock; zero: never
	Report      Report             // of that poll
	Gate        Gate               // before its ring
	Due         time.Time          // since when it may install what it has not; zero: since what is signed says
	SiteContact time.Time          // the last one of its site, if that is silent; zero: the site is not
	Cloned      bool               // two machines use its registration
	Retired     time.Time          // its registration was, for silence; zero: it was not
}

// Gate is what holds the hosts of a ring back although signed policy lets them install.
type Gate struct {
	Held  bool
	Code  string    // empty: CodeGate
	Why   string    // one sentence, without its full stop
	Since time.Time // open, or held; zero: always
}

// Report is what counts of a host's report.
type Report struct {
	State, Code, Error            string
	Target, Downloaded, Installed schema.Digest
	Release                       int64 // of what is installed
	Interval                      time.Duration
	Updated, HeldSince            time.Time
	Critical, Drift               bool
	Paused                        *schema.Pause
	Program                       string
	Platform                      schema.Platform
}

// Summary takes of a report what counts.
func Summary(r *schema.Report) Report {
	s := Report{State: r.State, Code: r.Code, Error: r.Error, Target: r.Target, Downloaded: r.Downloaded,
		Installed: r.Installed, Release: r.Release, Updated: r.LastUpdate, HeldSince: r.HeldSince, Critical: r.Critical,
		Program: r.Agent, Platform: r.Platform}
	if d := r.Details; d != nil {
		s.Interval = time.Duration(min(d.Interval, int64(30*24*time.Hour/time.Second))) * time.Second
		s.Drift = d.Drift != "" && d.Repaired.IsZero()
		s.Paused = d.Paused
	}
	return s
}

func (r *Report) interval() time.Duration { return cmp.Or(max(r.Interval, 0), DefaultInterval) }

// Verdict is where a host stands.
type Verdict struct {
	State State
	Code  string
	Why   string // one sentence, without its full stop
	Next  string // likewise
	Marks []Mark

	Since time.Time // of what is known without having watched; zero: it is not
	Turn  time.Time // when it may install, if that is signed
	Due   time.Time // since when it may install what it has not; zero: it may not, or has nothing to
	Until time.Time // when the clock alone may change this; zero: never
}

// Classify says where a host stands at the time now. The first of these rows that fits is taken:
//
//	Unregistered  signed metadata have it, and nobody has registered it
//	Rejected      it reports that something did not verify
//	Failed        it reports that a release, or its script, was no good
//	Withheld      it reports that a server, a site or the network keeps it from what it may install
//	Blocked       it reports a condition of its own, and tries again by itself
//	Overdue       it was not heard of for Silence, or has not installed for Grace what it may install
//	Not known     its site is silent: the last that was heard of it is as of then
//	Waiting       it may not install yet: by signed policy, a gate, or its own administrator
//	Updating      it may
//	Up to date    it has what it may have
//
// A host that git has not is Not in git, whatever it reports.
func Classify(f Facts, now time.Time) Verdict {
	v := classify(&f, now)
	v.Marks = f.marks(now)
	return v
}

func classify(f *Facts, now time.Time) Verdict {
	switch {
	case f.Assigned == nil:
		return Verdict{State: NotInGit, Code: CodeNotInGit, Why: "git has no host of this name", Since: f.Registered}
	case f.Registered.IsZero() && !f.Retired.IsZero():
		return Verdict{State: Unregistered, Code: CodeRetired, Since: f.Retired,
			Why: "its registration was retired at " +
				stamp(f.Retired) + ", after the silence that its folder's retireAfter allows"}
	case f.Registered.IsZero():
		return Verdict{State: Unregistered, Code: CodeUnregistered, Why: "it is not registered"}
	}
	if v, ok := f.reported(); ok {
		return v
	}
	silent := f.heard().Add(Silence(f.Report.interval()))
	asOf, known := now, f.SiteContact.IsZero()
	if !known {
		// What came after is not known, its silence neither; but for what was heard of it by another way.
		if asOf = f.SiteContact; f.heard().After(asOf) {
			asOf = f.heard()
			known = now.Before(silent)
		}
	}
	if known {
		asOf = now
	}
	v := f.decided(asOf)
	var late time.Time
	if !v.Due.IsZero() {
		late = v.Due.Add(Grace(f.Report.interval()))
	}
	switch {
	case !asOf.Before(silent):
		why := "it is silent since " + stamp(f.heard())
		if f.Seen.IsZero() {
			why = "it was registered at " + stamp(f.Registered) + " and has never asked since"
		}
		return Verdict{State: Overdue, Code: CodeSilent, Why: why + "; it should ask every " +
			schema.Duration(f.Report.interval()).String(), Since: silent, Due: v.Due}
	case !late.IsZero() && !asOf.Before(late):
		v = Verdict{State: Overdue, Code: CodeLate, Why: "it may install since " + stamp(v.Due) + ", and has not",
			Since: late, Due: v.Due}
		if known {
			v.Until = silent
		}
		return v
	case !known:
		v.Why, v.State, v.Code = "as of "+stamp(asOf)+", when its site was last heard of: "+v.Why, NotKnown,
			CodeSiteSilent
		v.Until, v.Next = time.Time{}, ""
		return v
	}
	v.Until = first(now, silent, late, v.Turn, f.pauseEnd(now))
	return v
}

// reported is the state of a host whose last report is the answer.
func (f *Facts) reported() (v Verdict, ok bool) {
	r := &f.Report
	v = Verdict{Code: r.Code, Why: cmp.Or(r.Error, "its last update ended so: "+cmp.Or(r.Code, r.State)),
		Since: r.HeldSince}
	group := outcome.GroupOf(r.Code)
	switch {
	case r.State == schema.StateRefused:
		group = outcome.Rejected
	case r.State == schema.StateFailed && r.Code == "":
		group = outcome.Failed
	case r.State == schema.StateNew, r.State == "", r.State == schema.StateCurrent:
		return v, false
	}
	switch group {
	case outcome.Rejected:
		v.State, v.Next = Rejected, "what ran goes on; it looks again at each check"
		v.Code = cmp.Or(v.Code, outcome.CodeUnverified)
	case outcome.Failed:
		v.State, v.Next = Failed, "what ran goes on; it takes the next release by itself"
		v.Code, v.Since = cmp.Or(v.Code, schema.CodeFailed), time.Time{}
	case outcome.Withheld:
		if slices.Contains(holds, r.Code) && f.gated() {
			return v, false
		}
		v.State, v.Next = Withheld, "it tries again at each check"
		v.Code = cmp.Or(v.Code, outcome.CodeBroken)
	case outcome.Blocked:
		v.State, v.Next, v.Since = Blocked, "it tries again by itself", time.Time{}
	default:
		return v, false
	}
	return v, true
}

// holds are the codes by which hosts report that a server holds them back.
var holds = []string{outcome.CodeServerHold, CodeGate, "halted", "rollout-paused"}

// gated reports whether what a host calls a server's hold was a gate's: one that is held, or was until after the host
// asked last.
func (f *Facts) gated() bool { return f.Gate.Held || f.Gate.Since.After(f.Seen) }

// decided is the state by what is signed, the gate and the host's administrator.
func (f *Facts) decided(now time.Time) Verdict {
	r, a := &f.Report, f.Assigned
	d := f.Policy.Decide(a, schema.Standing{Installed: r.Installed, Release: r.Release}, now)
	v := Verdict{Code: d.Code, Why: d.Why}
	switch d.Code {
	case schema.CodeCurrent:
		v.State = UpToDate
		if r.Code == outcome.CodeDrift {
			v.State, v.Code, v.Why = Waiting, outcome.CodeDrift,
				"its files are not as they were installed, and a rule leaves them"
		}
		return v
	case schema.CodeInstall:
	default:
		v.State = Waiting
		if d.Code == schema.CodeWaiting {
			v.Turn = f.turn(now)
			v.Next = "it installs by itself from " + stamp(v.Turn)
		}
		return v
	}
	switch {
	case f.Gate.Held:
		v.State, v.Code, v.Since = Waiting, cmp.Or(f.Gate.Code, CodeGate), f.Gate.Since
		v.Why = cmp.Or(f.Gate.Why, "the gate of ring "+a.Ring+" is not open")
		return v
	case r.Paused != nil && !r.Paused.Ended(now):
		v.State, v.Code, v.Why, v.Since = Waiting, outcome.CodePaused, r.Paused.String(), r.Paused.Since
		return v
	case r.Code == outcome.CodeRolledBack:
		v.State, v.Code, v.Why = Waiting, r.Code, cmp.Or(r.Error, "its administrator rolled it back")
		return v
	}
	v.State, v.Due = Updating, cmp.Or(f.Due, f.due(now))
	v.Since = v.Due
	v.Why = "release " + strconv.FormatInt(d.Package.Release, 10) + " may be installed"
	v.Next = "it installs at its next check"
	if r.Installed.IsZero() && r.Release == 0 && (r.State == "" || r.State == schema.StateNew) {
		v.Code, v.Why = CodeNew, "it is registered, and has installed nothing yet"
	}
	return v
}

// turn is when the first of the packages comes that the host may not have yet.
func (f *Facts) turn(now time.Time) (first time.Time) {
	f.candidates(func(_ schema.Candidate, from time.Time) {
		if now.Before(from) && (first.IsZero() || from.Before(first)) {
			first = from
		}
	})
	return first
}

// due is since when the host could have had something newer than what it has, by what is signed: a further release does
// not start that again.
func (f *Facts) due(now time.Time) (since time.Time) {
	f.candidates(func(_ schema.Candidate, from time.Time) {
		if !now.Before(from) && (since.IsZero() || from.Before(since)) {
			since = from
		}
	})
	for _, t := range []time.Time{f.Registered, f.Gate.Since} {
		if t.After(since) {
			since = t
		}
	}
	return since
}

// candidates are those that the host may take once their ring's delay is over.
func (f *Facts) candidates(do func(c schema.Candidate, from time.Time)) {
	var delay time.Duration
	for _, r := range f.Policy.Rings {
		if r.Name == f.Assigned.Ring {
			delay = time.Duration(r.Delay)
		}
	}
	for _, c := range f.Assigned.Candidates() {
		if c.SHA256 == f.Report.Installed {
			break
		}
		if !revoked(f.Policy, c.SHA256) && (c.Release > f.Report.Release || revoked(f.Policy, f.Report.Installed)) {
			do(c, c.Since.Add(delay))
		}
	}
}

func revoked(p *schema.Policy, d schema.Digest) bool {
	for _, r := range p.Revoked {
		if r == d {
			return true
		}
	}
	return false
}

// heard is when the host was last heard of.
func (f *Facts) heard() time.Time {
	if f.Seen.After(f.Registered) {
		return f.Seen
	}
	return f.Registered
}

func (f *Facts) pauseEnd(now time.Time) time.Time {
	if p := f.Report.Paused; p != nil && !p.Ended(now) {
		return p.Until
	}
	return time.Time{}
}

func (f *Facts) marks(now time.Time) (marks []Mark) {
	r := &f.Report
	if r.Drift {
		marks = append(marks, Drift)
	}
	if r.Paused != nil && !r.Paused.Ended(now) {
		marks = append(marks, Paused)
	}
	if f.Cloned {
		marks = append(marks, Cloned)
	}
	if r.Code == outcome.CodeRolledBack || outcome.GroupOf(r.Code) == outcome.Failed && !r.Installed.IsZero() &&
		r.Installed != r.Target {
		marks = append(marks, RolledBack)
	}
	return marks
}

// first is the earliest of the times that are after now.
func first(now time.Time, times ...time.Time) (t time.Time) {
	for _, o := range times {
		if o.After(now) && (t.IsZero() || o.Before(t)) {
			t = o
		}
	}
	return t
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Fact is what v is, in a line.
func (v Verdict) String() string { return fmt.Sprintf("%s (%s): %s", v.State.Word(), v.Code, v.Why) }
