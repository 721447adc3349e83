package hosts

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func pkg(n int64) schema.Digest { return schema.DigestOf([]byte{byte(n)}) }

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// rolling is a host that runs release 1 and may have release 2 since ten minutes.
func rolling() Facts {
	policy := &schema.Policy{Enabled: true, Rings: []schema.Ring{{Name: "all"}, {Name: "late",
		Delay: schema.Duration(12 * time.Hour)}}}
	a := &schema.Assignment{Host: "web01", SHA256: pkg(2), Target: schema.Target{Release: 2,
		Since: ago(10 * time.Minute),
		Ring:  "all", Selected: true,
		Older: []schema.Candidate{{SHA256: pkg(1), Release: 1, Since: ago(48 * time.Hour)}}}}
	return Facts{Policy: policy, Assigned: a, Registered: ago(240 * time.Hour), Seen: ago(20 * time.Minute),
		Report: Report{State: schema.StateCurrent, Code: schema.CodeCurrent, Installed: pkg(1), Release: 1,
			Target:   pkg(1),
			Interval: time.Hour}}
}

// reports makes the host's last report that.
func reports(state, code, text string) func(*Facts) {
	return func(f *Facts) { f.Report.State, f.Report.Code, f.Report.Error = state, code, text }
}

func TestTheFirstRowThatFitsIsAHostsState(t *testing.T) {
	t.Parallel()
	installed := func(f *Facts) { f.Report.Installed, f.Report.Release = pkg(2), 2 }
	silent := func(f *Facts) { f.Seen = ago(3 * time.Hour) }
	gate := func(f *Facts) { f.Gate = Gate{Held: true, Since: ago(time.Hour)} }
	late := func(f *Facts) { f.Assigned.Since, f.Seen = ago(150*time.Minute), ago(time.Minute) }
	pause := func(until time.Time) func(*Facts) {
		return func(f *Facts) { f.Report.Paused = &schema.Pause{Since: ago(time.Hour), Until: until} }
	}
	for _, c := range []struct {
		name  string
		with  []func(*Facts)
		state State
		code  string
		marks []Mark
	}{
		{"of no registration", []func(*Facts){func(f *Facts) {
			f.Registered, f.Seen, f.Report = time.Time{},
				time.Time{}, Report{}
		}},
			Unregistered, CodeUnregistered, nil},
		{"of no target", []func(*Facts){func(f *Facts) { f.Assigned = nil }, reports(schema.StateRefused,
			"unverified", "")},
			NotInGit, CodeNotInGit, nil},
		{"refused", []func(*Facts){reports(schema.StateRefused, outcome.CodeUnverified, "bad"), silent}, Rejected,
			"unverified", nil},
		{"refused by a code of tomorrow", []func(*Facts){reports(schema.StateRefused, "log-fork", "bad")}, Rejected,
			"log-fork", nil},
		{"unhealthy, and back", []func(*Facts){reports(schema.StateFailed, outcome.CodeUnhealthy, "ill"),
			func(f *Facts) { f.Report.Target = pkg(2) }, silent}, Failed, "unhealthy", []Mark{RolledBack}},
		{"failed without a code", []func(*Facts){reports(schema.StateFailed, "", "ill")}, Failed, "failed-here", nil},
		{"unreachable", []func(*Facts){reports(schema.StateFailed, outcome.CodeUnreachable, "no route")}, Withheld,
			"unreachable", nil},
		{"expired", []func(*Facts){reports(schema.StateHeld, outcome.CodeExpired, "old")}, Withheld, "expired", nil},
		{"a failure by a code of tomorrow", []func(*Facts){reports(schema.StateFailed, "tomorrow", "?")}, Withheld,
			"tomorrow", nil},
		{"held by a server", []func(*Facts){reports(schema.StateHeld, outcome.CodeServerHold, "")}, Withheld,
			"server-hold", nil},
		{"held by a server that is a gate", []func(*Facts){reports(schema.StateHeld, outcome.CodeServerHold, ""), gate},
			Waiting, CodeGate, nil},
		{"held by a gate that opened since", []func(*Facts){reports(schema.StateHeld, outcome.CodeServerHold, ""),
			func(f *Facts) { f.Gate.Since = ago(time.Minute) }}, Updating, schema.CodeInstall, nil},
		{"its disk is full", []func(*Facts){reports(schema.StateFailed, outcome.CodeHost, "no space")}, Blocked,
			"host-condition", nil},
		{"silent", []func(*Facts){silent}, Overdue, CodeSilent, nil},
		{"silent and not due", []func(*Facts){silent, installed}, Overdue, CodeSilent, nil},
		{"silent within the least time", []func(*Facts){func(f *Facts) {
			f.Report.Interval, f.Seen = time.Minute,
				ago(14*time.Minute)
		}},
			Updating, schema.CodeInstall, nil},
		{"never heard of since it registered", []func(*Facts){func(f *Facts) {
			f.Seen, f.Report = time.Time{},
				Report{}
		}},
			Overdue, CodeSilent, nil},
		{"late", []func(*Facts){late}, Overdue, CodeLate, nil},
		{"late behind a gate", []func(*Facts){late, gate}, Waiting, CodeGate, nil},
		{"late since less", []func(*Facts){late, func(f *Facts) { f.Due = ago(time.Minute) }}, Updating,
			schema.CodeInstall, nil},
		{"its site is silent", []func(*Facts){installed, func(f *Facts) {
			f.Seen, f.SiteContact = ago(5*time.Hour),
				ago(4*time.Hour)
		}},
			NotKnown, CodeSiteSilent, nil},
		{"silent before its site was", []func(*Facts){func(f *Facts) {
			f.Seen, f.SiteContact = ago(9*time.Hour),
				ago(4*time.Hour)
		}},
			Overdue, CodeSilent, nil},
		{"the master switch", []func(*Facts){installed, func(f *Facts) { f.Policy.Enabled = false }}, Waiting,
			schema.CodeDisabled, nil},
		{"not selected", []func(*Facts){func(f *Facts) { f.Assigned.Selected = false }}, Waiting,
			schema.CodeNotSelected, nil},
		{"no ring", []func(*Facts){func(f *Facts) { f.Assigned.Ring = "" }}, Waiting, schema.CodeNoRing, nil},
		{"its ring's delay", []func(*Facts){func(f *Facts) { f.Assigned.Ring = "late" }}, Waiting, schema.CodeWaiting,
			nil},
		{"revoked",
			[]func(*Facts){func(f *Facts) { f.Policy.Revoked = []schema.Digest{pkg(2)} },
				func(f *Facts) { f.Report.Installed = schema.Digest{} },
				func(f *Facts) { f.Report.Release = 1 }}, Waiting, schema.CodeRevoked, nil},
		{"paused", []func(*Facts){pause(time.Time{})}, Waiting, outcome.CodePaused, []Mark{Paused}},
		{"paused until before", []func(*Facts){pause(ago(time.Second))}, Updating, schema.CodeInstall, nil},
		{"paused and up to date", []func(*Facts){pause(time.Time{}), installed}, UpToDate, schema.CodeCurrent,
			[]Mark{Paused}},
		{"rolled back by hand", []func(*Facts){reports(schema.StateHeld, outcome.CodeRolledBack, "")}, Waiting,
			"rolled-back",
			[]Mark{RolledBack}},
		{"drift that a rule leaves", []func(*Facts){installed, reports(schema.StateHeld, outcome.CodeDrift, ""),
			func(f *Facts) { f.Report.Drift = true }}, Waiting, "drift", []Mark{Drift}},
		{"new", []func(*Facts){func(f *Facts) {
			f.Registered, f.Report = ago(time.Hour),
				Report{State: schema.StateNew}
		}}, Updating, CodeNew, nil},
		{"due", nil, Updating, schema.CodeInstall, nil},
		{"installed", []func(*Facts){installed, func(f *Facts) { f.Cloned = true }}, UpToDate, schema.CodeCurrent,
			[]Mark{Cloned}},
		{"what it could not have is over", []func(*Facts){installed, reports(schema.StateHeld, schema.CodeWaiting, "")},
			UpToDate, schema.CodeCurrent, nil},
	} {
		f := rolling()
		for _, do := range c.with {
			do(&f)
		}
		v := Classify(f, noon)
		if v.State != c.state || v.Code != c.code || !slices.Equal(v.Marks, c.marks) || v.Why == "" {
			t.Errorf("%s: %v, marks %v, want %s (%s) %v", c.name, v, v.Marks, c.state, c.code, c.marks)
		}
	}
}

func TestAWaitingHostHasTheTimeOfItsTurn(t *testing.T) {
	t.Parallel()
	f := rolling()
	f.Assigned.Ring = "late"
	turn := ago(10 * time.Minute).Add(12 * time.Hour)
	if v := Classify(f, noon); !v.Turn.Equal(turn) {
		t.Errorf("%v: %v, want %v", v, v.Turn, turn)
	}
	f.Seen = turn
	if v := Classify(f, turn); v.State != Updating || !v.Due.Equal(turn) {
		t.Errorf("at its turn %v, due %v", v, v.Due)
	}
}

func TestAFurtherReleaseDoesNotStartTheTimeOfALateHostAgain(t *testing.T) {
	t.Parallel()
	f := rolling()
	f.Assigned.Older = []schema.Candidate{{SHA256: pkg(3), Release: 2, Since: ago(3 * time.Hour)}, f.Assigned.Older[0]}
	f.Assigned.Release = 3
	f.Seen = ago(time.Minute)
	if v := Classify(f, noon); v.Code != CodeLate || !v.Due.Equal(ago(3*time.Hour)) {
		t.Errorf("%v, due %v", v, v.Due)
	}
}

// anything are facts of any kind.
func anything(r *rand.Rand) Facts {
	f := rolling()
	pick := func(n int) bool { return r.IntN(n) == 0 }
	when := func() time.Time { return ago(time.Duration(r.IntN(20*60)-10) * time.Minute) }
	if pick(10) {
		f.Assigned = nil
	} else {
		f.Assigned.Ring = []string{"all", "late", "", "gone"}[r.IntN(4)]
		f.Assigned.Selected, f.Assigned.Since = !pick(8), when()
		if pick(2) {
			f.Assigned.Older = nil
		}
	}
	f.Policy.Enabled = !pick(8)
	for _, n := range []int64{1, 2} {
		if pick(8) {
			f.Policy.Revoked = append(f.Policy.Revoked, pkg(n))
		}
	}
	if pick(8) && f.Assigned != nil {
		f.Registered, f.Seen, f.Report = time.Time{}, time.Time{}, Report{}
		return f
	}
	f.Registered, f.Seen = when(), when()
	if pick(8) {
		f.Seen, f.Report = time.Time{}, Report{}
		return f
	}
	codes := append(outcome.Codes(), "", "tomorrow", schema.CodeInstall)
	states := []string{schema.StateNew, schema.StateCurrent, schema.StateHeld, schema.StateRefused,
		schema.StateFailed, "?"}
	f.Report.State, f.Report.Code = states[r.IntN(len(states))], codes[r.IntN(len(codes))]
	f.Report.Release = int64(r.IntN(4))
	f.Report.Installed = []schema.Digest{{}, pkg(1), pkg(2), pkg(9)}[r.IntN(4)]
	f.Report.Interval = []time.Duration{0, time.Minute, time.Hour, -1}[r.IntN(4)]
	if pick(4) {
		f.Report.Paused = &schema.Pause{Since: when(), Until: when()}
	}
	if pick(4) {
		f.Gate = Gate{Held: pick(2), Since: when()}
	}
	if pick(6) {
		f.SiteContact = when()
	}
	if pick(6) {
		f.Due = when()
	}
	return f
}

func TestEachHostIsInOneStateAndUpdatingAlwaysEnds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[State]int{}
	for range 20000 {
		f := anything(r)
		v := Classify(f, noon)
		if seen[v.State]++; !v.State.Valid() || v.Code == "" || v.Why == "" {
			t.Fatalf("%+v: %+v", f, v)
		}
		if (v.State == NotInGit) != (f.Assigned == nil) {
			t.Fatalf("%+v: %+v", f, v)
		}
		now := noon
		for n := 0; !v.Until.IsZero(); n++ {
			if n > 8 || !v.Until.After(now) {
				t.Fatalf("after %d changes, at %s: %+v of %+v", n, now, v, f)
			}
			between := v.Until.Add(-1)
			if w := Classify(f, between); w.State != v.State || w.Code != v.Code {
				t.Fatalf("%+v: %v is to last until %s, and is %v before that", f, v, v.Until, w)
			}
			now = v.Until
			v = Classify(f, now)
		}
		if v.State == Updating {
			t.Fatalf("%+v is updating for ever", f)
		}
	}
	for _, s := range States() {
		if seen[s] == 0 {
			t.Errorf("no host was %s", s)
		}
	}
}

// Whatever was known of a host: while its site is silent, and nothing is heard of it by another way, it is neither up
// to date nor on its way to it, and it raises no alarm that it did not raise before.
func TestThreeDaysWithoutASiteNeverReadAsGreen(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	seen := map[State]int{}
	for range 20000 {
		f := anything(r)
		f.SiteContact = noon.Add(-72 * time.Hour)
		for f.heard().After(f.SiteContact) {
			f.Registered, f.Seen = f.Registered.Add(-72*time.Hour), f.Seen.Add(-72*time.Hour)
		}
		v := Classify(f, noon)
		seen[v.State]++
		switch v.State {
		case UpToDate, Updating, Waiting:
			t.Fatalf("%+v: %v", f, v)
		case Overdue:
			before := f
			before.SiteContact = time.Time{}
			if w := Classify(before, f.SiteContact); w.State != Overdue {
				t.Fatalf("%+v: it was %v when its site was last heard of, and is %v", f, w, v)
			}
		}
	}
	if seen[NotKnown] == 0 || seen[Overdue] == 0 {
		t.Errorf("%v", seen)
	}
}

func TestAHostOfASilentSiteThatIsHeardOfElsewhereIsKnown(t *testing.T) {
	f := rolling()
	f.Report.Installed, f.Report.Release, f.SiteContact = pkg(2), 2, ago(4*time.Hour)
	v := Classify(f, noon)
	if v.State != UpToDate || v.Until.IsZero() {
		t.Fatalf("%+v", v)
	}
	if w := Classify(f, v.Until); w.State != NotKnown || !strings.Contains(w.Why, stamp(f.Seen)) {
		t.Errorf("%+v", w)
	}
}
