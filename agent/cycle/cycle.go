package cycle

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
)

// MaxAttempts is how often an installation that never comes to an end, a crash each time, is begun.
const MaxAttempts = 3

// Action is what an update does next.
type Action int

// Actions; what each does, and the event that it ends in, is in the package's comment.
const (
	Observe Action = iota + 1
	Ask
	Prepare
	Survey
	Install
	Judge
	Accept
	Revert
	Return
	End
)

// Options vary an update.
type Options struct {
	Retry    bool          // forget which releases failed here, and what the host is waiting for
	Force    bool          // install the package again, even if nothing is wrong with it
	Leave    bool          // what differs from the installed package is reported and left alone
	Closed   string        // that no maintenance window is open, and when one is; empty: one is, or there are none
	Interval time.Duration // between two updates
}

// Event is what an action came to.
type Event interface{ event() }

type (
	// Observed is what is there. Crippled says that what the installed package brings for the updater itself, without
	// which no server can be asked, is missing or cannot be used.
	Observed struct {
		Drift    *Drift
		Crippled error
	}
	// Decided is what this host may do by verified metadata. Behind is how far the server lags; empty: it does not.
	// Urgent is that what runs here is revoked: that waits for no maintenance window.
	Decided struct {
		Verdict schema.Verdict
		Behind  string
		Urgent  bool
	}
	// Prepared is a package that is verified and put together. Present says that it is on the host already.
	Prepared struct {
		Next    Installed
		Present bool
	}
	// Surveyed is how the host is before it is touched: the runs of what prints names, in their order, and services
	// that do not run as they should.
	Surveyed struct {
		Seen   []Seen
		Ailing []string
	}
	// Stopped ends Ask or Prepare with an error. Code is its class, by the table of this package.
	Stopped struct {
		Code string
		Err  error
	}
	// InstallEnded is how the package manager ended: OfRelease if that speaks against the package, Touched if the
	// system may be between two packages, Revertible if the installation can be taken back by its own way.
	InstallEnded struct {
		Err                            error
		Code                           string // of Err
		OfRelease, Touched, Revertible bool
	}
	// Judged is whether the host is well: nil if so. Seen is what was looked at for that.
	Judged struct {
		Err  error
		Seen []Seen
	}
	// Accepted is that what nobody can want back is gone.
	Accepted struct{}
	// Restored is how Revert or Return ended.
	Restored struct{ Err error }
)

func (Observed) event()     {}
func (Decided) event()      {}
func (Prepared) event()     {}
func (Surveyed) event()     {}
func (Stopped) event()      {}
func (InstallEnded) event() {}
func (Judged) event()       {}
func (Accepted) event()     {}
func (Restored) event()     {}

// Cycle is one update under way.
type Cycle struct {
	State
	Outcome   Outcome
	Err       error            // why it ended as Outcome says; nil if nothing failed
	Candidate schema.Candidate // of Prepare
	Next      Installed        // of Install
	Why       string           // of Return

	options    Options
	asked      bool     // a verdict was reached
	behind     string   // see Decided
	begun      *Pending // by an earlier run, when this one began an installation
	revertible bool
	then       Action // after Return
	failed     string // code of the first of Err
	repairing  string // why Return puts on what is installed already; empty: it goes back
	repaired   string // why it did
}

// Begin begins an update.
func Begin(s State, o Options) (Cycle, Action) {
	c := Cycle{State: s, options: o}
	if o.Retry {
		c.Failed, c.Waiting = nil, nil
	}
	return c, Observe
}

// Step says what is done after ev, which happened at the time now.
func (c Cycle) Step(ev Event, now time.Time) (Cycle, Action) {
	next := c.step(ev, now.UTC().Truncate(time.Second))
	return c.bounded(), next
}

// bounded cuts and cleans the texts that a step made: the errors of others are in them.
func (c Cycle) bounded() Cycle {
	c.State, c.Outcome = c.State.Bounded(), c.Outcome.bounded()
	return c
}

func (c *Cycle) step(ev Event, now time.Time) Action {
	switch ev := ev.(type) {
	case Observed:
		return c.observed(ev, now)
	case Decided:
		return c.decided(ev, now)
	case Prepared:
		return c.prepared(ev, now)
	case Surveyed:
		c.see(ev.Seen)
		c.Ailing = ev.Ailing
		return c.take()
	case Stopped:
		return c.stopped(ev)
	case InstallEnded:
		return c.installed(ev, now)
	case Judged:
		return c.judged(ev, now)
	case Restored:
		return c.restored(ev, now)
	}
	return End
}

func (c *Cycle) observed(ev Observed, now time.Time) Action {
	c.Drift = ev.Drift
	if c.Paused != nil && c.Paused.Ended(now) {
		c.Paused = nil
	}
	if ev.Crippled != nil && c.Installed != nil && c.Paused == nil {
		c.repairing = ev.Crippled.Error()
		return c.back(c.repairing+"; installing the package again", Ask)
	}
	return Ask
}

func (c *Cycle) decided(ev Decided, now time.Time) Action {
	c.asked, c.behind, c.Err, c.failed = true, ev.Behind, nil, "" // it was not too crippled to ask
	v := ev.Verdict
	c.Outcome = Outcome{State: schema.StateHeld, Code: v.Code, Why: v.Why}
	if v.Install() {
		if ev.Urgent {
			c.options.Closed = ""
		}
		if !c.holds(fmt.Sprintf("release %d is to be installed", v.Package.Release)) {
			return c.begin(v.Package, now)
		}
	}
	repairs := true
	switch v.Code {
	case schema.CodeCurrent:
		c.Outcome.State = schema.StateCurrent
		c.rename(v.Package)
	case schema.CodeFailed:
		if c.byHand(v.Package.Release) {
			c.Outcome.Code, c.Outcome.Why = outcome.CodeRolledBack, c.WhyFailed(v.Package.Release)
			break
		}
		c.Outcome.State = schema.StateFailed
		c.Outcome.Error = cmp.Or(c.WhyFailed(v.Package.Release), v.Why)
	case schema.CodeWaiting:
	default:
		repairs = false // nobody wants this host touched, or not with what it has
	}
	// Nothing shall be installed: an installation that a crash cut short must not stay half done.
	if c.Pending != nil {
		return c.back("rolling back an interrupted installation", End)
	}
	if repairs {
		return c.repair()
	}
	return End
}

// holds makes the outcome that of an update that has something to do, and does not for the host's pause or because no
// maintenance window is open, if it is so. Who forces an update has it at once, but for a pause.
func (c *Cycle) holds(what string) bool {
	switch {
	case c.Paused != nil:
		c.Outcome = Outcome{State: schema.StateHeld, Code: outcome.CodePaused, Why: c.Paused.String() + "; " + what}
	case c.options.Closed != "" && !c.options.Force:
		c.Outcome = Outcome{State: schema.StateHeld, Code: outcome.CodeWindow, Why: c.options.Closed + "; " + what}
	default:
		return false
	}
	return true
}

// rename takes over the number of a newer release that gives this host what it has installed already, so that reports
// name the release that they describe.
func (c *Cycle) rename(to schema.Candidate) {
	if i := c.Installed; i != nil && i.Package == to.SHA256 && i.Release < to.Release {
		renamed := *i
		renamed.Release = to.Release
		c.Installed = &renamed
	}
}

// repair puts the installed package on again where what is there differs from it.
func (c *Cycle) repair() Action {
	if c.Installed == nil || c.Drift == nil && !c.options.Force {
		return End
	}
	why := "asked to install the package again"
	if c.Drift != nil {
		why = c.Drift.String()
	}
	before := c.Outcome
	if c.Paused == nil && c.Drift != nil && c.options.Leave && !c.options.Force {
		if c.Outcome.State == schema.StateCurrent {
			c.Outcome = Outcome{State: schema.StateHeld, Code: outcome.CodeDrift, Why: why + "; left alone by rule"}
		}
		return End
	}
	if c.holds(why) {
		if before.State == schema.StateFailed {
			c.Outcome = before
		}
		return End
	}
	c.repairing = why
	return c.back(why+": installing the package again", End)
}

// waits makes the outcome that of a package that the host itself stopped, if it is too early to try it again.
func (c *Cycle) waits(p schema.Digest, now time.Time) bool {
	w := c.Waiting
	if w == nil || w.Package != p || !now.Before(w.Next) {
		return false
	}
	c.fail(outcome.CodeHost, fault.Hint(errors.New(w.Why),
		"it is tried again from %s on; at once: bakehouse-agent update --retry", w.Next.UTC().Format(time.RFC3339)))
	return true
}

// begin takes up a package, unless it was begun too often or it is too early.
func (c *Cycle) begin(p schema.Candidate, now time.Time) Action {
	c.Candidate = p
	if c.attempts() >= MaxAttempts {
		err := fmt.Errorf("installing release %d failed %d times without completing", p.Release, c.attempts())
		c.fail(outcome.CodeInstall, err)
		c.MarkFailed(p.Release, err.Error())
		return c.back("rolling back", End)
	}
	if c.waits(p.SHA256, now) {
		return c.rest()
	}
	return Prepare
}

// attempts is how often the candidate was begun without an end.
func (c *Cycle) attempts() int {
	if p := c.Pending; p != nil && p.Package == c.Candidate.SHA256 {
		return p.Attempts
	}
	return 0
}

// rest ends the update, but not with an installation half done.
func (c *Cycle) rest() Action {
	if c.Pending != nil {
		return c.back("rolling back an interrupted installation", End)
	}
	return End
}

// Hindered is the end of an update whose state could not be written down before action, which is therefore not done.
func (c Cycle) Hindered(action Action, err error) Cycle {
	if action == Install {
		c.Pending = c.begun
	}
	c.fail(outcome.CodeHost, err)
	return c.bounded()
}

func (c *Cycle) stopped(ev Stopped) Action {
	c.fail(ev.Code, ev.Err)
	return c.rest()
}

func (c *Cycle) prepared(ev Prepared, now time.Time) Action {
	if ev.Present && c.Pending == nil {
		c.Next = ev.Next
		return c.accepted(now)
	}
	c.Next, c.begun = ev.Next, c.Pending
	if c.Installed == nil {
		c.Sees = nil // of a package that was taken back
	} else if c.begun == nil {
		return Survey
	}
	return c.take() // what an earlier attempt left is not how the host was
}

// take is that the prepared package is installed now.
func (c *Cycle) take() Action {
	c.Pending = &Pending{Installed: c.Next, Attempts: c.attempts() + 1}
	return Install
}

func (c *Cycle) installed(ev InstallEnded, now time.Time) Action {
	// What ran before this attempt is not what was accepted, if an earlier one may have switched to it.
	c.revertible = ev.Revertible && c.begun == nil
	switch {
	case ev.Err == nil:
		return Judge
	case ev.OfRelease:
		c.giveUp(outcome.CodeInstall, ev.Err)
	default:
		c.fail(ev.Code, ev.Err)
		if ev.Touched {
			c.wait(c.Next.Package, ev.Err, now)
		}
	}
	if ev.Touched {
		return c.undo()
	}
	c.Pending = c.begun // what an earlier run left half done stays known
	if ev.OfRelease {
		return c.rest()
	}
	return End
}

// wait has the host try a package again after pauses that grow from an interval to a day.
func (c *Cycle) wait(p schema.Digest, err error, now time.Time) {
	w := &Waiting{Package: p, Why: err.Error()}
	if old := c.Waiting; old != nil && old.Package == p {
		w.Tries = old.Tries
	}
	w.Next = now.Add(min(max(c.options.Interval, time.Minute)<<min(w.Tries, 10), 24*time.Hour))
	w.Tries++
	c.Waiting = w
}

func (c *Cycle) judged(ev Judged, now time.Time) Action {
	if ev.Err != nil {
		c.giveUp(outcome.CodeUnhealthy, ev.Err)
		return c.undo()
	}
	c.Sees = nil // of the package before
	c.see(ev.Seen)
	return c.accepted(now)
}

func (c *Cycle) accepted(now time.Time) Action {
	c.accept(c.Next, now)
	c.Outcome = Outcome{State: schema.StateCurrent, Code: outcome.CodeInstalled, Why: "up to date"}
	return Accept
}

// giveUp is that a release failed here. It is in the state before anything is taken back: after a crash it must not be
// tried again.
func (c *Cycle) giveUp(code string, err error) {
	err = fmt.Errorf("release %d failed here: %w", c.Next.Release, err)
	c.fail(code, err)
	c.MarkFailed(c.Next.Release, err.Error())
}

func (c *Cycle) fail(code string, err error) {
	c.Err = errors.Join(c.Err, err)
	c.failed = code
	c.Outcome = Outcome{State: schema.StateFailed, Code: code, Why: c.Outcome.Why, Error: c.Err.Error()}
	switch {
	case code == outcome.CodeExpired:
		c.Outcome.State = schema.StateHeld
	case fault.IsRefusal(c.Err):
		c.Outcome.State = schema.StateRefused
	}
}

// undo takes the installation back: by its own way, if it has one.
func (c *Cycle) undo() Action {
	c.then = End
	if c.revertible {
		return Revert
	}
	return c.back("installing the previous package again", End)
}

// back puts on once more what was accepted. That is an installation as well, and may be cut short.
func (c *Cycle) back(why string, then Action) Action {
	c.Why, c.then, c.revertible = why, then, false
	if c.Pending == nil && c.Installed != nil {
		c.Pending = &Pending{Installed: *c.Installed}
	}
	return Return
}

func (c *Cycle) restored(ev Restored, now time.Time) Action {
	switch {
	case ev.Err == nil:
		c.Pending, c.Drift = nil, nil
		if c.repairing != "" {
			c.Repaired = &Repair{What: c.repairing, At: now}
			c.repaired, c.repairing = c.repairing, ""
		}
	case c.revertible:
		return c.back(fmt.Sprintf("rolling back failed (%v); installing the previous package again", ev.Err), End)
	default:
		c.repairing = "" // what is pending is tried again by each update
		c.fail(cmp.Or(c.failed, outcome.CodeHost), ev.Err)
	}
	return c.then
}

// Conclude completes the outcome and writes it into the state. Policy is what is verified; nil: none is. Target and got
// are what the host should run, and what was put together in this update or before.
func (c Cycle) Conclude(now time.Time, policy *schema.Policy, target, got schema.Digest) Cycle {
	if c.behind != "" && c.Outcome.State != schema.StateFailed && c.Outcome.Code != outcome.CodeInstalled {
		c.Outcome = Outcome{State: schema.StateHeld, Code: outcome.CodeSiteBehind,
			Why: c.behind + "; by the metadata on this host: " + c.Outcome.Why}
	}
	if c.repaired != "" && c.Outcome.Code == schema.CodeCurrent {
		c.Outcome.Why += " (the package was installed again: " + c.repaired + ")"
	}
	c.Outcome.Target, c.Outcome.Downloaded = target, got
	if c.Outcome.Target.IsZero() {
		c.Outcome.Target = c.Last.Target
	}
	if c.Outcome.Downloaded.IsZero() {
		c.Outcome.Downloaded = c.Last.Downloaded
	}
	c.LastTry = now.UTC().Truncate(time.Second)
	c.withhold(c.LastTry, policy)
	c = c.bounded()
	c.Last = c.Outcome
	if c.Last.Code == outcome.CodeInstalled {
		c.Last.Code = schema.CodeCurrent
	}
	return c
}

// withhold brings Withheld up to date. A time in the future was written by a clock that has been set back since, and
// one that is behind what is signed is none. What the host itself failed at ends no alarm unless it was told before, by
// verified metadata, what it should run.
func (c *Cycle) withhold(now time.Time, policy *schema.Policy) {
	class := outcome.ClassOf(c.Outcome.Code)
	if class == outcome.Local && !c.asked {
		return
	}
	if class != outcome.Server {
		c.Withheld = nil
		return
	}
	believed, w := true, &Withheld{Code: c.Outcome.Code}
	if old := c.Withheld; old != nil {
		w.Since, w.Limit = old.Since, old.Limit
	}
	if policy != nil {
		w.Limit, believed = policy.MaxHold, !now.Before(policy.Issued)
	}
	if believed && (w.Since.IsZero() || w.Since.After(now)) {
		w.Since = now
	}
	c.Withheld = w
}
