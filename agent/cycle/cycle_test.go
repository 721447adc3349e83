package cycle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// nth is a package by number; 0 is none.
func nth(n byte) schema.Digest { return schema.Digest{n} }

func candidate(n byte) schema.Candidate { return schema.Candidate{SHA256: nth(n), Release: int64(n)} }

func installed(n byte) *Installed { return &Installed{Package: nth(n), Release: int64(n)} }

func install(n byte) Decided {
	return Decided{Verdict: schema.Verdict{Code: schema.CodeInstall, Package: candidate(n)}}
}

func rest(code string, n byte) Decided {
	return Decided{Verdict: schema.Verdict{Code: code, Why: "because", Package: candidate(n)}}
}

func urgent(n byte) Decided { return Decided{Verdict: install(n).Verdict, Urgent: true} }

// saw is a run of a plugin's monitoring.
func saw(names ...string) []Seen { return []Seen{{Plugin: "p", Keeps: "id", Names: names}} }

// steps runs events from s and gives what was done, and how it ended.
func steps(t *testing.T, s State, o Options, events ...Event) (string, Cycle) {
	t.Helper()
	c, action := Begin(s, o)
	names := map[Action]string{Observe: "observe", Ask: "ask", Prepare: "prepare", Survey: "survey",
		Install: "install", Judge: "judge",
		Accept: "accept", Revert: "revert", Return: "return", End: "end"}
	done := []string{names[action]}
	for _, ev := range events {
		if action == End {
			t.Fatalf("it ended before %T", ev)
		}
		c, action = c.Step(ev, noon)
		done = append(done, names[action])
	}
	return strings.Join(done, " "), c
}

func TestAnUpdateDoesWhatItsRulesSay(t *testing.T) {
	t.Parallel()
	sick, broken := errors.New("sick"), errors.New("broken")
	one, look, drifted := State{Installed: installed(1)}, Observed{}, Observed{Drift: &Drift{Version: "0"}}
	cut := State{Installed: installed(1), Pending: &Pending{Installed: *installed(2), Attempts: 1}}
	paused := State{Installed: installed(1), Paused: &schema.Pause{Until: noon.Add(time.Second)}}
	closed := Options{Closed: "no maintenance window is open"}
	for name, c := range map[string]struct {
		state  State
		opts   Options
		events []Event
		want   string
		code   string
		check  func(Cycle) bool
	}{
		"a first package": {
			events: []Event{look, install(1), Prepared{Next: *installed(1)}, InstallEnded{}, Judged{}, Accepted{}},
			want:   "observe ask prepare install judge accept end", code: outcome.CodeInstalled,
			check: func(c Cycle) bool {
				return c.Installed.Release == 1 && c.Pending == nil && c.LastUpdate.Equal(noon)
			},
		},
		"a package that somebody else installed": {
			events: []Event{look, install(1), Prepared{Next: *installed(1), Present: true}, Accepted{}},
			want:   "observe ask prepare accept end", code: outcome.CodeInstalled,
			check: func(c Cycle) bool { return c.Installed.Release == 1 && c.Pending == nil },
		},
		"the same, where an attempt was cut short": {
			state:  cut,
			events: []Event{look, install(2), Prepared{Next: *installed(2), Present: true}},
			want:   "observe ask prepare install", code: schema.CodeInstall,
		},
		"a release that is unhealthy": {
			state: one,
			events: []Event{look, install(2), Prepared{Next: *installed(2)}, Surveyed{},
				InstallEnded{Touched: true, Revertible: true}, Judged{Err: sick}, Restored{}},
			want: "observe ask prepare survey install judge revert end", code: outcome.CodeUnhealthy,
			check: func(c Cycle) bool {
				return c.Installed.Release == 1 && c.Pending == nil && c.WhyFailed(2) == "release 2 failed here: sick"
			},
		},
		"a host that is paused, with a release to install": {
			state: paused, events: []Event{look, install(2)}, want: "observe ask end", code: outcome.CodePaused,
			check: func(c Cycle) bool { return c.Outcome.State == schema.StateHeld && c.Err == nil },
		},
		"a host that is paused, with somebody who retries": {
			state: paused, opts: Options{Retry: true, Force: true}, events: []Event{look, install(2)},
			want: "observe ask end", code: outcome.CodePaused,
		},
		"a host that is paused, with something to repair": {
			state: paused, events: []Event{drifted, rest(schema.CodeCurrent, 1)},
			want: "observe ask end", code: outcome.CodePaused, check: func(c Cycle) bool { return c.Drift != nil },
		},
		"a host that is paused, crippled": {
			state: paused, events: []Event{Observed{Crippled: broken}, Stopped{outcome.CodeBroken, broken}},
			want: "observe ask end", code: outcome.CodeBroken,
		},
		"a host that is paused, up to date": {
			state: paused, events: []Event{look, rest(schema.CodeCurrent, 1)},
			want: "observe ask end", code: schema.CodeCurrent, check: func(c Cycle) bool { return c.Paused != nil },
		},
		"a host that is paused, whose turn comes later, with something to repair": {
			state: paused, events: []Event{drifted, rest(schema.CodeWaiting, 2)},
			want: "observe ask end", code: outcome.CodePaused,
		},
		"a host that was paused in the middle of an installation": {
			state:  State{Installed: installed(1), Pending: cut.Pending, Paused: paused.Paused},
			events: []Event{look, install(2), Restored{}}, want: "observe ask return end", code: outcome.CodePaused,
			check: func(c Cycle) bool { return c.Pending == nil },
		},
		"a pause that is over": {
			state:  State{Installed: installed(1), Paused: &schema.Pause{Until: noon}},
			events: []Event{look, install(2)}, want: "observe ask prepare", code: schema.CodeInstall,
			check: func(c Cycle) bool { return c.Paused == nil },
		},
		"no maintenance window is open": {
			state: one, opts: closed, events: []Event{look, install(2)}, want: "observe ask end",
			code:  outcome.CodeWindow,
			check: func(c Cycle) bool { return c.Outcome.State == schema.StateHeld && c.Err == nil },
		},
		"no maintenance window is open, and something is to be repaired": {
			state: one, opts: closed, events: []Event{drifted, rest(schema.CodeCurrent, 1)}, want: "observe ask end",
			code: outcome.CodeWindow, check: func(c Cycle) bool { return c.Drift != nil },
		},
		"no maintenance window is open, and nothing is to be done": {
			state: one, opts: closed, events: []Event{look, rest(schema.CodeCurrent, 1)}, want: "observe ask end",
			code: schema.CodeCurrent,
		},
		"no maintenance window is open, and an installation was cut short": {
			state: cut, opts: closed, events: []Event{look, install(2), Restored{}}, want: "observe ask return end",
			code: outcome.CodeWindow, check: func(c Cycle) bool { return c.Pending == nil },
		},
		"no maintenance window is open, but what runs is revoked": {
			state: one, opts: closed, events: []Event{look, urgent(2)}, want: "observe ask prepare",
			code: schema.CodeInstall,
		},
		"no maintenance window is open, but somebody forces it": {
			state: one, opts: Options{Closed: closed.Closed, Force: true}, events: []Event{look, install(2)},
			want: "observe ask prepare", code: schema.CodeInstall,
		},
		"no maintenance window is open, but the updater's own settings are gone": {
			state: one, opts: closed,
			events: []Event{Observed{Crippled: broken}, Restored{}, rest(schema.CodeCurrent, 1)},
			want:   "observe return ask end", code: schema.CodeCurrent,
		},
		"what was seen before is remembered, and what is seen after only with the release": {
			state: one,
			events: []Event{look, install(2), Prepared{Next: *installed(2)}, Surveyed{saw("a", "b"), []string{"x"}},
				InstallEnded{Touched: true, Revertible: true}, Judged{sick, saw("b")}, Restored{}},
			want: "observe ask prepare survey install judge revert end", code: outcome.CodeUnhealthy,
			check: func(c Cycle) bool { return slices.Equal(c.Common("p", "id"), []string{"a", "b"}) },
		},
		"what was seen of a package that was taken back is forgotten": {
			state:  State{Sees: []Sees{{Plugin: "p", Keeps: "id", Runs: 1, Names: map[string]uint8{"a": 1}}}},
			events: []Event{look, install(2), Prepared{Next: *installed(2)}}, want: "observe ask prepare install",
			code: schema.CodeInstall, check: func(c Cycle) bool { return c.Common("p", "id") == nil },
		},
		"what was seen after a release belongs to it": {
			state: one,
			events: []Event{look, install(2), Prepared{Next: *installed(2)}, Surveyed{saw("a", "b"), []string{"x"}},
				InstallEnded{Touched: true}, Judged{nil, saw("b", "c")}, Accepted{}},
			want: "observe ask prepare survey install judge accept end", code: outcome.CodeInstalled,
			check: func(c Cycle) bool {
				return slices.Equal(c.Common("p", "id"), []string{"b", "c"}) && c.Ailing == nil
			},
		},
		"what an earlier attempt left is not what was accepted": {
			state: cut,
			events: []Event{look, install(2), Prepared{Next: *installed(2)},
				InstallEnded{Touched: true, Revertible: true}, Judged{Err: sick}, Restored{}},
			want: "observe ask prepare install judge return end", code: outcome.CodeUnhealthy,
			check: func(c Cycle) bool { return c.Pending == nil },
		},
		"a way back that fails": {
			state: one,
			events: []Event{look, install(2), Prepared{Next: *installed(2)}, Surveyed{},
				InstallEnded{Touched: true, Revertible: true}, Judged{Err: sick}, Restored{broken}, Restored{broken}},
			want: "observe ask prepare survey install judge revert return end", code: outcome.CodeUnhealthy,
			check: func(c Cycle) bool { return c.Pending != nil && errors.Is(c.Err, broken) },
		},
		"a condition of the host that touched nothing": {
			state: one,
			events: []Event{look, install(2), Prepared{Next: *installed(2)}, Surveyed{},
				InstallEnded{Err: broken, Code: outcome.CodeHost}},
			want: "observe ask prepare survey install end", code: outcome.CodeHost,
			check: func(c Cycle) bool { return c.Pending == nil && c.Failed == nil && c.Waiting == nil },
		},
		"the same after a crash": {
			state: cut,
			events: []Event{look, install(2), Prepared{Next: *installed(2)},
				InstallEnded{Err: broken, Code: outcome.CodeHost}},
			want: "observe ask prepare install end", code: outcome.CodeHost,
			check: func(c Cycle) bool { return c.Pending.Attempts == 1 && c.Failed == nil },
		},
		"a condition of the host in the middle": {
			state: one,
			events: []Event{look, install(2), Prepared{Next: *installed(2)}, Surveyed{},
				InstallEnded{Err: broken, Code: outcome.CodeHost, Touched: true}, Restored{}},
			opts: Options{Interval: time.Hour}, want: "observe ask prepare survey install return end",
			code: outcome.CodeHost,
			check: func(c Cycle) bool {
				return c.Pending == nil && c.Failed == nil && c.Waiting.Next.Equal(noon.Add(time.Hour))
			},
		},
		"its own script": {
			state: one,
			events: []Event{look, install(2), Prepared{Next: *installed(2)}, Surveyed{},
				InstallEnded{Err: broken, OfRelease: true, Touched: true}, Restored{}},
			want: "observe ask prepare survey install return end", code: outcome.CodeInstall,
			check: func(c Cycle) bool { return c.WhyFailed(2) != "" },
		},
		"too early to try again": {
			state:  State{Installed: installed(1), Waiting: &Waiting{Package: nth(2), Why: "full", Next: noon.Add(1)}},
			events: []Event{look, install(2)}, want: "observe ask end", code: outcome.CodeHost,
		},
		"too early, but somebody asks": {
			opts:   Options{Retry: true},
			state:  State{Installed: installed(1), Waiting: &Waiting{Package: nth(2), Why: "full", Next: noon.Add(1)}},
			events: []Event{look, install(2)}, want: "observe ask prepare", code: schema.CodeInstall,
		},
		"a repair that was cut short ends as one": {
			state:  State{Installed: installed(1), Pending: &Pending{Installed: *installed(1)}},
			events: []Event{look, rest(schema.CodeCurrent, 1), Restored{}},
			want:   "observe ask return end", code: schema.CodeCurrent,
			check: func(c Cycle) bool { return c.Outcome.State == schema.StateCurrent && c.Pending == nil },
		},
		"begun too often": {
			state:  State{Installed: installed(1), Pending: &Pending{Installed: *installed(2), Attempts: 3}},
			events: []Event{look, install(2), Restored{}}, want: "observe ask return end", code: outcome.CodeInstall,
			check: func(c Cycle) bool { return c.Pending == nil && c.WhyFailed(2) != "" },
		},
		"cut short, and no server": {
			state: cut, events: []Event{look, Stopped{outcome.CodeUnreachable, broken}, Restored{}},
			want: "observe ask return end", code: outcome.CodeUnreachable,
			check: func(c Cycle) bool { return c.Pending == nil },
		},
		"cut short, and the package cannot be had": {
			state: cut, events: []Event{look, install(3), Stopped{outcome.CodeUnreachable, broken}, Restored{}},
			want: "observe ask prepare return end", code: outcome.CodeUnreachable,
			check: func(c Cycle) bool { return c.Pending == nil },
		},
		"cut short, and not wanted any more": {
			state: cut, events: []Event{look, rest(schema.CodeCurrent, 1), Restored{}},
			want: "observe ask return end", code: schema.CodeCurrent,
		},
		"drift is repaired": {
			state: one, events: []Event{drifted, rest(schema.CodeCurrent, 1), Restored{}},
			want: "observe ask return end", code: schema.CodeCurrent,
			check: func(c Cycle) bool { return c.Drift == nil && strings.HasSuffix(c.Repaired.What, "has version 0") },
		},
		"drift is left alone by rule": {
			opts: Options{Leave: true}, state: one, events: []Event{drifted, rest(schema.CodeCurrent, 1)},
			want: "observe ask end", code: outcome.CodeDrift,
			check: func(c Cycle) bool { return c.Drift != nil && c.Outcome.State == schema.StateHeld },
		},
		"drift that cannot be repaired is tried again later": {
			state: one, events: []Event{drifted, rest(schema.CodeCurrent, 1), Restored{broken}},
			want: "observe ask return end", code: outcome.CodeHost,
			check: func(c Cycle) bool {
				return c.Waiting == nil && c.Drift != nil && c.Err != nil && c.Pending.Package == nth(1)
			},
		},
		"drift where updates are off": {
			state: one, events: []Event{drifted, rest(schema.CodeDisabled, 0)}, want: "observe ask end",
			code: schema.CodeDisabled, check: func(c Cycle) bool { return c.Drift != nil },
		},
		"put on again because somebody asks": {
			opts: Options{Force: true}, state: one,
			events: []Event{look, rest(schema.CodeCurrent, 1), Restored{}}, want: "observe ask return end",
			code: schema.CodeCurrent,
		},
		"settings that are gone come back before anybody is asked": {
			state: one, events: []Event{Observed{Crippled: broken}, Restored{}, rest(schema.CodeCurrent, 1)},
			want: "observe return ask end", code: schema.CodeCurrent,
			check: func(c Cycle) bool { return c.Err == nil },
		},
		"settings that are gone, of no package": {
			events: []Event{Observed{Crippled: broken}}, want: "observe ask",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := fmt.Sprintf("%+v", c.state)
			done, got := steps(t, c.state, c.opts, c.events...)
			if done != c.want || got.Outcome.Code != c.code || c.check != nil && !c.check(got) {
				t.Errorf("did %q, want %q; %+v, %v\n%+v", done, c.want, got.Outcome, got.Err, got.State)
			}
			if (got.Err != nil) != (got.Outcome.Error != "") {
				t.Errorf("error %v, outcome %+v", got.Err, got.Outcome)
			}
			if fmt.Sprintf("%+v", c.state) != before {
				t.Error("it changed the state that it was given")
			}
		})
	}
}

func TestOnlyWhatIsSignedOrTheHostsOwnEndsTheAlarm(t *testing.T) {
	t.Parallel()
	held := State{Installed: installed(1),
		Withheld: &Withheld{Since: noon.Add(-time.Hour), Code: outcome.CodeServerHold}}
	conclude := func(s State, events ...Event) *Withheld {
		_, c := steps(t, s, Options{}, events...)
		return c.Conclude(noon, &schema.Policy{MaxHold: schema.Duration(time.Minute)}, nth(2), schema.Digest{}).Withheld
	}
	for _, code := range outcome.Codes() {
		stopped := conclude(held, Observed{}, Stopped{code, errors.New("no")})
		if (stopped == nil) != (outcome.ClassOf(code) == outcome.Done || outcome.ClassOf(code) == outcome.Signed) {
			t.Errorf("%s before anything was verified: %+v", code, stopped)
		}
		if stopped != nil && stopped.Critical(noon) == "" && outcome.ClassOf(code) == outcome.Server {
			t.Errorf("%s: %+v is not critical", code, stopped)
		}
		fetching := conclude(held, Observed{}, install(2), Stopped{code, errors.New("no")})
		if (fetching == nil) != (outcome.ClassOf(code) != outcome.Server) {
			t.Errorf("%s while fetching: %+v", code, fetching)
		}
	}
	if w := conclude(held, Observed{}, install(2), Stopped{"a code of tomorrow", errors.New("no")}); w == nil ||
		!w.Since.Equal(noon.Add(-time.Hour)) {
		t.Errorf("a code that nobody knows ends the alarm: %+v", w)
	}
	behind := rest(schema.CodeCurrent, 1)
	behind.Behind = "the site is behind"
	if w := conclude(held, Observed{}, behind); w == nil || w.Code != outcome.CodeSiteBehind {
		t.Errorf("behind: %+v", w)
	}
	if w := conclude(held, Observed{}, rest(schema.CodeDisabled, 0)); w != nil {
		t.Errorf("disabled: %+v", w)
	}
}

// world is a host on which everything can go wrong: package 0 is none, torn is between two packages.
type world struct {
	*rand.Rand
	runs    int
	healthy map[int]bool
	faults  bool
	saved   State
	before  int // the attempt
	blamed  map[int64]bool
	begun   map[int64]int
	prints  map[int][]string // the names that its monitoring prints, by release
	blind   bool             // its monitoring could not be run, so that its names are not known
	last    int              // that was accepted
}

// looks is a run of the monitoring: besides what is always there, names come and go.
func (w *world) looks() Seen {
	if w.runs == torn || w.chance(9) {
		return Seen{Plugin: "p", Keeps: "id", Failed: true}
	}
	names := slices.Clone(w.prints[w.runs])
	if w.IntN(2) == 0 {
		names = append(names, "at times")
	}
	return Seen{Plugin: "p", Keeps: "id", Names: names}
}

const torn = -1

var errWorld = errors.New("the world is bad")

func (w *world) chance(one int) bool { return w.faults && w.IntN(one) == 0 }

// perform does an action, or part of it before a crash.
func (w *world) perform(a Action, c *Cycle, wanted byte) (ev Event, crashed bool) {
	crash := w.chance(6)
	if c.Paused != nil && (a == Prepare || a == Install || c.repairing != "") {
		panic("a host that is paused is touched")
	}
	switch a {
	case Observe:
		o := Observed{}
		if w.saved.Pending == nil && w.saved.Installed != nil && w.runs != int(w.saved.Installed.Release) {
			o.Drift = &Drift{Version: fmt.Sprint(w.runs)}
		}
		if w.chance(9) && w.saved.Installed != nil {
			o.Crippled = errWorld
		}
		return o, crash
	case Ask:
		if w.chance(5) {
			return Stopped{outcome.CodeUnreachable, errWorld}, crash
		}
		if w.chance(9) {
			return rest(schema.CodeDisabled, 0), crash
		}
		p := schema.Policy{Enabled: true, Rings: []schema.Ring{{Name: "r"}}}
		t := schema.Target{Selected: true, Ring: "r", Release: int64(wanted)}
		a := schema.Assignment{Host: "h", SHA256: nth(wanted), Target: t}
		return Decided{Verdict: p.Decide(&a, c.Standing(), noon)}, crash
	case Prepare:
		if w.chance(5) {
			return Stopped{outcome.CodeUnreachable, errWorld}, crash
		}
		return Prepared{Next: Installed{Package: c.Candidate.SHA256, Release: c.Candidate.Release}}, crash
	case Survey:
		var s Surveyed
		for range c.RunsWanted("p", "id") {
			seen := w.looks()
			w.blind = w.blind || seen.Failed
			s.Seen = append(s.Seen, seen)
		}
		return s, crash
	case Install:
		w.before, w.begun[c.Next.Release] = w.runs, w.begun[c.Next.Release]+1
		if w.chance(4) {
			return InstallEnded{Err: errWorld, Code: outcome.CodeHost}, crash
		}
		w.runs = torn
		if w.chance(3) {
			own := w.IntN(2) == 0
			w.blamed[c.Next.Release] = own || w.blamed[c.Next.Release]
			return InstallEnded{Err: errWorld, Code: outcome.CodeHost, Touched: true, OfRelease: own}, crash
		}
		if crash && w.IntN(2) == 0 {
			return nil, true
		}
		w.runs = int(c.Next.Release)
		return InstallEnded{Touched: true, Revertible: w.IntN(2) == 0}, crash
	case Judge:
		if !w.healthy[int(c.Next.Release)] {
			w.blamed[c.Next.Release] = true
			return Judged{Err: errWorld}, crash
		}
		seen := w.looks()
		for _, name := range c.Common("p", "id") {
			if !slices.Contains(seen.Names, name) {
				// A name that comes and goes is told from the others by three runs, mostly.
				w.blamed[c.Next.Release] = true
				return Judged{Err: errWorld}, crash
			}
		}
		return Judged{Seen: []Seen{seen}}, crash
	case Accept:
		return Accepted{}, crash
	case Revert, Return:
		w.runs = torn
		if crash && w.IntN(2) == 0 || w.chance(4) {
			return Restored{errWorld}, crash
		}
		if a == Revert {
			w.runs = w.before
		} else if w.runs = 0; c.Installed != nil {
			w.runs = int(c.Installed.Release)
		}
		return Restored{}, crash
	}
	panic(a)
}

// update runs once, as the agent does; it reports whether it came to an end.
func (w *world) update(t *testing.T, wanted byte) (ended bool) {
	c, action := Begin(w.saved, Options{Interval: time.Nanosecond, Retry: false})
	for action != End {
		w.saved = c.State // written before it is done
		w.check(t)
		ev, crashed := w.perform(action, &c, wanted)
		if w.check(t); crashed {
			return false
		}
		c, action = c.Step(ev, noon)
	}
	c = c.Conclude(noon, nil, schema.Digest{}, schema.Digest{})
	w.saved = c.State
	w.check(t)
	return true
}

func (w *world) accepted() int {
	if w.saved.Installed == nil {
		return 0
	}
	return int(w.saved.Installed.Release)
}

// check what must hold at any moment, by what is on the disk: a crash would leave just that.
func (w *world) check(t *testing.T) {
	t.Helper()
	accepted := w.accepted()
	if accepted != w.last {
		for _, name := range w.prints[w.last] {
			if !w.blind && !slices.Contains(w.prints[accepted], name) {
				t.Fatalf("%d was accepted, which lacks %q that %d has: %+v", accepted, name, w.last, w.saved.Sees)
			}
		}
		w.last, w.blind = accepted, len(w.saved.Sees) == 0
	}
	if w.runs != accepted && w.saved.Pending == nil && w.saved.Drift == nil {
		t.Fatalf("%d runs, %d was accepted, and nothing says so: %+v", w.runs, accepted, w.saved)
	}
	for _, f := range w.saved.Failed {
		if !w.blamed[f.Release] && w.begun[f.Release] < MaxAttempts {
			t.Fatalf("release %d was given up without a fault of its own: %s", f.Release, f.Why)
		}
	}
}

func TestAHostIsNeverStrandedWhateverHappensAndWheneverItCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10000) {
		w := &world{Rand: rand.New(rand.NewPCG(1, seed)), blamed: map[int64]bool{}, begun: map[int64]int{},
			healthy: map[int]bool{1: true, 2: seed%2 == 0, 3: seed%3 != 0},
			prints:  map[int][]string{1: {"a", "b"}, 2: {"a", "b"}, 3: {"a", "b"}}}
		if lacks := int(seed % 5); lacks == 2 || lacks == 3 {
			w.prints[lacks] = []string{"a"}
		}
		for release := byte(1); release <= 3; release++ {
			w.faults = true
			for range 1 + w.IntN(6) {
				if w.saved.Paused = nil; w.chance(5) {
					w.saved.Paused = &schema.Pause{}
				}
				w.update(t, release)
			}
			w.faults, w.saved.Paused = false, nil
			for range 2 {
				// A condition of the host ends, and so does its pause.
				w.saved.Waiting = nil
				if !w.update(t, release) {
					t.Fatal("it did not end")
				}
			}
			accepted := w.accepted()
			if w.runs != accepted || w.saved.Pending != nil || w.saved.Drift != nil {
				t.Fatalf("seed %d, release %d: %d runs: %+v", seed, release, w.runs, w.saved)
			}
			if accepted != int(release) && w.saved.WhyFailed(int64(release)) == "" {
				t.Fatalf("seed %d: release %d is neither installed nor given up: %+v", seed, release, w.saved)
			}
			if t.Failed() {
				return
			}
		}
	}
}

func TestARefusalStaysOneWhenTheWayBackFailsToo(t *testing.T) {
	t.Parallel()
	no := fault.Refuse(errors.New("forged"), "discarded")
	s := State{Installed: installed(1), Pending: &Pending{Installed: *installed(2), Attempts: 1}}
	_, c := steps(t, s, Options{}, Observed{}, Stopped{outcome.CodeUnverified, no}, Restored{errWorld})
	if c.Outcome.State != schema.StateRefused || c.Outcome.Code != outcome.CodeUnverified || c.Pending == nil {
		t.Errorf("%+v, %+v", c.Outcome, c.State)
	}
}
