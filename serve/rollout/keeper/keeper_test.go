package keeper

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
	"bakehouse/serve/rollout"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// lab is a fleet of a canary and others behind a gate, and its servers on one inventory.
type lab struct {
	t     *testing.T
	db    *inventory.DB
	now   time.Time
	hosts map[string][]rollout.Host
}

func newLab(t *testing.T) *lab {
	db, err := inventory.Open(t.Context(), filepath.Join(t.TempDir(), "i.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &lab{t: t, db: db, now: noon, hosts: map[string][]rollout.Host{}}
	l.all("canary", rollout.Host{Kind: rollout.Healthy, Newest: 7, Runs: 6})
	l.all("broad", rollout.Host{Kind: rollout.Healthy, Newest: 7, Runs: 6})
	return l
}

func (l *lab) all(ring string, h rollout.Host) { l.hosts[ring] = []rollout.Host{h, h, h} }

func (l *lab) census() *rollout.Census {
	var c rollout.Census
	for ring, hosts := range l.hosts {
		for _, h := range hosts {
			c.Add(ring, h)
		}
	}
	return &c
}

func (l *lab) server(st Store) *Keeper {
	l.t.Helper()
	k, err := New(l.t.Context(), st, l.census, func() time.Time { return l.now }, slog.New(slog.DiscardHandler))
	if err != nil {
		l.t.Fatal(err)
	}
	if err := k.Publish(l.t.Context(), policy(), given(7, 6)); err != nil {
		l.t.Fatal(err)
	}
	return k
}

func policy() *schema.Policy {
	return &schema.Policy{Enabled: true, Rings: []schema.Ring{{Name: "canary", Halt: &schema.Halt{}},
		{Name: "broad", Gate: &schema.Gate{Healthy: schema.Whole, For: schema.Duration(time.Hour)}}}}
}

// given are the hosts of a release, with the releases of their packages, the newest first.
func given(releases ...int64) map[string]*schema.Assignment {
	a := &schema.Assignment{Host: "web01", Target: schema.Target{Ring: "broad", Release: releases[0], Since: noon}}
	for _, r := range releases[1:] {
		a.Older = append(a.Older, schema.Candidate{Release: r, Since: noon.Add(-time.Hour)})
	}
	return map[string]*schema.Assignment{a.Host: a}
}

func (l *lab) tick(servers ...*Keeper) {
	l.t.Helper()
	for _, k := range servers {
		if err := k.Tick(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *lab) held(k *Keeper, code string) {
	l.t.Helper()
	got := ""
	if h := k.Held("broad", 7); h != nil {
		got = h.Code
	}
	if got != code {
		l.t.Errorf("broad is held for %q, want %q", got, code)
	}
}

func TestServersOfOneInventoryKeepTheSameVerdicts(t *testing.T) {
	l := newLab(t)
	one, two := l.server(l.db), l.server(l.db)
	l.held(one, rollout.CodeGate)
	l.all("canary", rollout.Host{Kind: rollout.Healthy, Newest: 7, Runs: 7})
	l.tick(one, two)
	for range 58 { // in turn, and then one was started again
		l.now = l.now.Add(time.Minute)
		l.tick(one, two)
	}
	one = l.server(l.db)
	l.held(one, rollout.CodeGate)
	l.now = l.now.Add(2 * time.Minute)
	l.tick(two)
	l.held(two, "")
	l.held(one, rollout.CodeGate)
	l.tick(one) // which has read it
	l.held(one, "")
	// One that knows of no host decides nothing to the contrary.
	l.hosts = map[string][]rollout.Host{}
	l.held(l.server(l.db), "")

	ctx := t.Context()
	r, err := one.Act(ctx, Command{Verb: Halt, Reason: "a customer calls"}, "mia")
	if err != nil || len(r.Done) != 1 || r.Done[0] != "release 7 is halted: no further host gets it" || r.Release != 7 {
		t.Fatalf("%+v, %v", r, err)
	}
	l.held(one, rollout.CodeHalted)
	l.tick(two)
	l.held(two, rollout.CodeHalted)
	if r, err = two.Act(ctx, Command{Verb: Pause}, "joe"); err != nil {
		t.Fatal(err)
	}
	l.tick(one)
	l.held(one, rollout.CodePaused)
	if _, err = one.Act(ctx, Command{Verb: Pause}, "mia"); !errors.Is(err, ErrWrong) ||
		!strings.Contains(err.Error(), "paused already, by joe at") {
		t.Error(err)
	}
	if r, err = one.Act(ctx, Command{Verb: Resume}, "mia"); err != nil || len(r.Done) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	l.held(one, "")
	for _, c := range []Command{{Verb: Resume}, {Verb: "stop"}, {Verb: Halt, Release: 9}, {Verb: Promote, Ring: "x"},
		{Verb: Halt, Reason: strings.Repeat("x", 301)}} {
		if _, err = one.Act(ctx, c, "mia"); !errors.Is(err, ErrWrong) {
			t.Errorf("%.40v: %v", c, err)
		}
	}
}

func TestARevertWhileHaltedHasAVerdictOfItsOwn(t *testing.T) {
	l := newLab(t)
	k := l.server(l.db)
	l.hosts["canary"][0] = rollout.Host{Kind: rollout.Failed, Newest: 7, Runs: 6, Tried: 7}
	l.tick(k)
	l.held(k, rollout.CodeHalted)
	if err := k.Publish(t.Context(), policy(), given(8, 7, 6)); err != nil {
		t.Fatal(err)
	}
	l.held(k, rollout.CodeHalted) // 7 is, for whoever would still take it
	if h := k.Held("canary", 8); h != nil {
		t.Errorf("canary is held from the revert: %+v", h)
	}
	if h := k.Held("broad", 8); h == nil || h.Code != rollout.CodeGate {
		t.Errorf("broad: %+v", h)
	}
	if list, _ := k.Releases(); len(list) != 3 || list[0].Release != 8 {
		t.Errorf("%+v", list)
	}
}

// away is a store that can be away.
type away struct {
	Store
	down bool
}

func (a *away) Verdicts(ctx context.Context) ([]inventory.Verdict, error) {
	if a.down {
		return nil, errors.New("no route to host")
	}
	return a.Store.Verdicts(ctx)
}

func (a *away) Decide(ctx context.Context, v inventory.Verdict) error {
	if a.down {
		return errors.New("no route to host")
	}
	return a.Store.Decide(ctx, v)
}

func TestNothingOpensThatCannotBeStored(t *testing.T) {
	l := newLab(t)
	st := &away{Store: l.db}
	k := l.server(st)
	if _, err := k.Act(t.Context(), Command{Verb: Promote, Ring: "broad"}, "mia"); err != nil {
		t.Fatal(err)
	}
	l.held(k, "")
	st.down = true
	if err := k.Publish(t.Context(), policy(), given(8, 7)); err == nil {
		t.Error("published without a store")
	}
	l.held(k, "") // what was decided stays
	for _, ring := range []string{"canary", "broad"} {
		if h := k.Held(ring, 8); h == nil || h.Code != rollout.CodeGate {
			t.Errorf("%s: %+v", ring, h)
		}
	}
	_, err := k.Act(t.Context(), Command{Verb: Promote, Ring: "broad"}, "mia")
	if err == nil || errors.Is(err, ErrWrong) {
		t.Errorf("promoted without a store: %v", err)
	}
	st.down = false
	l.tick(k)
	if h := k.Held("canary", 8); h != nil {
		t.Errorf("%+v", h)
	}
}

func TestAFleetWithoutGatesStoresNothingUntilSomebodyActs(t *testing.T) {
	l := newLab(t)
	k, err := New(t.Context(), l.db, l.census, func() time.Time { return l.now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	free := &schema.Policy{Rings: []schema.Ring{{Name: "broad"}}}
	stored := func(want int) {
		t.Helper()
		if list, err := l.db.Verdicts(t.Context()); err != nil || len(list) != want {
			t.Errorf("%d verdicts are stored, want %d: %v", len(list), want, err)
		}
	}
	if err := k.Publish(t.Context(), free, given(7, 6)); err != nil {
		t.Fatal(err)
	}
	l.held(k, "")
	stored(0)
	if list, _ := k.Releases(); len(list) != 1 || list[0].Rings[0].State != rollout.Open {
		t.Errorf("%+v", list)
	}
	if _, err := k.Act(t.Context(), Command{Verb: Halt}, "mia"); err != nil {
		t.Fatal(err)
	}
	l.held(k, rollout.CodeHalted)
	stored(1)
}

func TestVerdictsOfThePastAreForgotten(t *testing.T) {
	l := newLab(t)
	k := l.server(l.db)
	for release := int64(8); release < 70; release++ {
		if err := k.Publish(t.Context(), policy(), given(release)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := l.db.Verdicts(t.Context())
	if err != nil || len(list) > keptPast+2 || len(list) < keptPast {
		t.Errorf("%d are kept, %v", len(list), err)
	}
	l.server(l.db) // one that is behind leaves what it does not know yet
	again, err := l.db.Verdicts(t.Context())
	if err != nil || !slices.ContainsFunc(again, func(v inventory.Verdict) bool { return v.Name == "release/69" }) {
		t.Errorf("%d are left of %d, %v", len(again), len(list), err)
	}
}

func TestAHostIsHeldFromWhateverItMightInstall(t *testing.T) {
	l := newLab(t)
	k := l.server(l.db)
	sum := func(release int64) schema.Digest { return schema.DigestOf([]byte{byte(release)}) }
	assigned := func(ring string, newest, older int64) *schema.Assignment {
		return &schema.Assignment{Host: "web01", SHA256: sum(newest), Target: schema.Target{Ring: ring, Selected: true,
			Release: newest, Since: noon, Older: []schema.Candidate{{SHA256: sum(older), Release: older,
				Since: noon.Add(-24 * time.Hour)}}}}
	}
	if _, err := k.Act(t.Context(), Command{Verb: Promote, Ring: "broad", Release: 6}, "mia"); err != nil {
		t.Fatal(err)
	}
	runs := func(release int64) *schema.Report {
		return &schema.Report{State: schema.StateCurrent, Installed: sum(release), Target: sum(release),
			Release: release}
	}
	for name, c := range map[string]struct {
		ring   string
		delay  time.Duration
		report *schema.Report
		held   bool
	}{
		"the canary":                       {"canary", 0, runs(6), false},
		"broad":                            {"broad", 0, runs(6), true},
		"broad, which has it":              {"broad", 0, runs(7), false},
		"broad, which gets the older":      {"broad", time.Hour, runs(5), false},
		"broad by a clock that is ahead":   {"broad", 10 * time.Minute, runs(5), true},
		"broad, which may get nothing yet": {"broad", time.Hour, runs(6), false},
		"broad, where it failed": {"broad", 0, &schema.Report{State: schema.StateFailed, Installed: sum(6),
			Target: sum(7), Release: 6}, true},
		"a new host of broad": {"broad", 0, &schema.Report{State: schema.StateNew}, true},
	} {
		p := policy()
		p.Rings[1].Delay = schema.Duration(c.delay)
		if h := k.Holds(p, assigned(c.ring, 7, 6), c.report); (h != nil) != c.held {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

func TestHostsComeSoonerWhileARolloutIsUnderWayAndNotForEver(t *testing.T) {
	l := newLab(t)
	k := l.server(l.db)
	for fleet, want := range map[int]time.Duration{3: time.Minute, 12_000: time.Minute, 100_000: 500 * time.Second} {
		if got := k.Next(fleet); got != want {
			t.Errorf("%d hosts: after %s, want %s", fleet, got, want)
		}
	}
	l.now = l.now.Add(hurryFor)
	l.tick(k)
	if got := k.Next(3); got != 0 {
		t.Errorf("a canary that stands still: after %s", got)
	}
	if _, err := k.Act(t.Context(), Command{Verb: Promote, Ring: "broad"}, "mia"); err != nil {
		t.Fatal(err)
	}
	if got := k.Next(3); got != time.Minute {
		t.Errorf("after a promotion: %s", got)
	}
	for _, ring := range []string{"canary", "broad"} {
		l.all(ring, rollout.Host{Kind: rollout.Healthy, Newest: 7, Runs: 7})
	}
	l.tick(k)
	if got := k.Next(3); got != 0 {
		t.Errorf("when all have it: after %s", got)
	}
}
