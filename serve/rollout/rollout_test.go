package rollout

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

const hour = schema.Duration(time.Hour)

// three are a canary, early hosts a day later behind a gate, and the rest behind both.
func three() []schema.Ring {
	return []schema.Ring{
		{Name: "canary", Halt: &schema.Halt{Failed: 0}},
		{Name: "early", Delay: 24 * hour, Gate: &schema.Gate{Healthy: 9500, Hosts: 4, For: 2 * hour},
			Halt: &schema.Halt{Failed: 100, Hosts: 2}},
		{Name: "broad", Gate: &schema.Gate{Rings: []string{"early"}, Healthy: 9000}},
	}
}

// fleet has hosts of three kinds in each ring.
type fleet struct {
	t     *testing.T
	rings []schema.Ring
	hosts map[string][]Host
	now   time.Time
	v     *Verdict
}

func newFleet(t *testing.T, canary, early, broad int) *fleet {
	f := &fleet{t: t, rings: three(), hosts: map[string][]Host{}, now: noon}
	for ring, n := range map[string]int{"canary": canary, "early": early, "broad": broad} {
		for range n {
			f.hosts[ring] = append(f.hosts[ring], Host{Kind: Healthy, Newest: 7, Runs: 6})
		}
	}
	return f
}

// set makes the first n hosts of a ring that run nothing newer than release 6 what change says.
func (f *fleet) set(ring string, n int, h Host) {
	for i := range f.hosts[ring] {
		if o := &f.hosts[ring][i]; n > 0 && o.Kind == Healthy && o.Runs < 7 {
			h.Newest = 7
			*o = h
			n--
		}
	}
	if n > 0 {
		f.t.Fatalf("ring %s lacks %d hosts", ring, n)
	}
}

func (f *fleet) census() *Census {
	var c Census
	for ring, hosts := range f.hosts {
		for _, h := range hosts {
			c.Add(ring, h)
		}
	}
	return &c
}

// pass steps each minute, as a server does that was started again in between.
func (f *fleet) pass(d time.Duration) {
	f.t.Helper()
	hosts := f.census()
	for end := f.now.Add(d); ; f.now = f.now.Add(time.Minute) {
		f.v = again(f.t, Step(f.v, Input{7, noon, f.rings, hosts, f.now}))
		if !f.now.Before(end) {
			return
		}
	}
}

// again is v as it comes back from the database.
func again(t *testing.T, v *Verdict) (back *Verdict) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if err != nil || !reflect.DeepEqual(v, back) {
		t.Fatalf("%v\n%+v\ncame back as\n%+v", err, v, back)
	}
	return back
}

func (f *fleet) is(canary, early, broad string) {
	f.t.Helper()
	for ring, want := range map[string]string{"canary": canary, "early": early, "broad": broad} {
		r := f.v.Ring(ring)
		if got := strings.TrimSuffix(r.State+": "+r.Why, ": "); got != want {
			f.t.Errorf("ring %s is %q, want %q", ring, got, want)
		}
	}
}

func (f *fleet) held(ring, code, why string) {
	f.t.Helper()
	h := Held(f.rings, ring, 7, f.v, nil)
	switch {
	case h == nil && code != "":
		f.t.Errorf("ring %s is not held, want %s", ring, code)
	case h != nil && (h.Code != code || !strings.Contains(h.Why, why)):
		f.t.Errorf("ring %s is held as %+v, want %s: %s", ring, h, code, why)
	}
}

var (
	well     = Host{Kind: Healthy, Runs: 7}
	ill      = Host{Kind: Failed, Runs: 6, Tried: 7}
	rejected = Host{Kind: Rejected, Runs: 6, Tried: 7}
	silent   = Host{Kind: Pending, Runs: 7}
	paused   = Host{Kind: Aside, Runs: 6}
)

func TestAReleaseGoesFromRingToRing(t *testing.T) {
	f := newFleet(t, 5, 10, 100)
	f.pass(0)
	const more = "95 % of canary, and at least 4 hosts, up to date on release 7 (0 of 5 now, 0 %)"
	f.is("open", "waiting: "+more, "waiting: ring early")
	f.held("canary", "", "")
	f.held("early", CodeGate, "ring early waits for "+more)
	f.held("broad", CodeGate, "ring broad waits for ring early")

	f.set("canary", 4, well)
	f.pass(time.Hour)
	f.held("early", CodeGate, "(4 of 5 now, 80 %)")
	f.set("canary", 1, well)
	f.pass(time.Hour)
	f.is("done", "waiting: 2 h of watching canary (60 min so far)", "waiting: ring early")
	f.pass(time.Hour)
	f.is("done", "waiting: its signed delay, until 2026-11-29T12:00:00Z", "waiting: ring early")
	f.pass(21*time.Hour - time.Minute)
	f.held("early", CodeGate, "its signed delay")
	f.pass(time.Minute)
	f.held("early", "", "")
	f.is("done", "open", "waiting: 90 % of early up to date on release 7 (0 of 10 now, 0 %)")
	if g := f.v.Ring("early").Gate.Text; g != "saw 5 of 5 hosts of canary up to date (100 %, asked for 95 %), "+
		"for 23 h (asked for 2 h)" {
		t.Error(g)
	}
	f.hosts["canary"][0] = Host{Kind: Pending, Newest: 7, Runs: 7} // later: the gate has opened
	f.set("early", 9, well)
	f.pass(0)
	f.is("open", "open", "open")
	f.held("broad", "", "")
	f.set("early", 1, well)
	f.set("broad", 100, well)
	f.hosts["canary"][0] = Host{Kind: Healthy, Newest: 7, Runs: 7}
	f.pass(0)
	f.is("done", "done", "done")
	if !f.v.Done() {
		t.Error("not done")
	}
}

func TestTooManyFailuresHaltAReleaseForAllOfItsHosts(t *testing.T) {
	f := newFleet(t, 5, 1500, 100)
	f.set("canary", 5, well)
	f.pass(24 * time.Hour)
	f.set("early", 1000, well)
	f.set("early", 1, ill)
	f.pass(0)
	f.held("early", "", "")
	f.set("early", 8, ill)
	f.set("early", 1, rejected)
	f.pass(0) // 10 of 1,010 are less than the limit
	f.held("early", "", "")
	f.set("early", 1, ill)
	f.pass(0)
	const why = "10 of 1,011 failed and 1 of 1,011 rejected it in ring early (1.1 %, limit 1 %)"
	f.is("done", "halted: "+why, "waiting: release 7, which is halted")
	for _, ring := range []string{"canary", "early", "broad"} {
		f.held(ring, CodeHalted, "release 7 is halted: "+why)
	}
	// It stays halted, whatever becomes of them.
	for i := range f.hosts["early"] {
		f.hosts["early"][i] = Host{Kind: Healthy, Newest: 7, Runs: 7}
	}
	f.pass(48 * time.Hour)
	f.held("broad", CodeHalted, why)
	// The next release, a revert, has a verdict of its own.
	if v := Step(nil, Input{8, f.now, f.rings, f.census(), f.now}); v.Halt != nil || v.Ring("canary").State == Halted {
		t.Errorf("release 8: %+v", v)
	}
}

func TestWhatIsNotTheReleasesFaultNeitherHaltsNorOpens(t *testing.T) {
	f := newFleet(t, 5, 1, 1)
	f.set("canary", 3, silent)
	f.set("canary", 1, paused)
	f.hosts["canary"][4] = Host{Kind: Failed, Newest: 7, Runs: 5, Tried: 6} // at an earlier release
	f.pass(30 * time.Hour)
	f.is("open", "waiting: 95 % of canary, and at least 4 hosts, up to date on release 7 (0 of 4 now, 0 %); "+
		"1 more do not count: paused, not selected or not registered", "waiting: ring early")
	// None of them can ever count: it says so.
	f = newFleet(t, 2, 1, 1)
	f.set("canary", 2, paused)
	f.pass(30 * time.Hour)
	f.held("early", CodeGate, "that is too few, so it opens by promote alone")
	// Nor does the release concern the canary.
	f = newFleet(t, 0, 1, 1)
	f.hosts["canary"] = []Host{{Kind: Healthy, Newest: 6, Runs: 6}}
	f.pass(30 * time.Hour)
	f.held("early", CodeGate, "4 hosts of canary up to date on release 7, which is for none of them; it opens by")
	f.rings[1].Gate.Hosts = 0 // who asks for no number is content
	f.pass(3 * time.Hour)
	f.held("early", "", "")
	if g := f.v.Ring("early").Gate.Text; g != "release 7 is for no host of canary" {
		t.Error(g)
	}
}

func TestAHostThatRunsALaterReleaseCountsForTheEarlier(t *testing.T) {
	var c Census
	for _, h := range []Host{
		{Healthy, 9, 9, 0}, {Healthy, 9, 7, 0}, {Healthy, 9, 6, 0}, {Failed, 9, 7, 9}, {Aside, 9, 7, 0},
		{Aside, 9, 6, 0},
		{Pending, 9, 7, 0}, {Healthy, 3, 3, 0},
	} {
		c.Add("a", h)
	}
	for release, want := range map[int64]Tally{
		3: {Hosts: 8, Healthy: 6}, 7: {Hosts: 7, Healthy: 3, Aside: 1}, 8: {Hosts: 7, Healthy: 1, Aside: 2},
		9: {Hosts: 7, Healthy: 1, Failed: 1, Aside: 2}, 10: {},
	} {
		if got := c.Of("a", release); got != want {
			t.Errorf("release %d: %+v, want %+v", release, got, want)
		}
	}
}

func TestNoVerdictMeansHold(t *testing.T) {
	rings := three()
	for _, ring := range []string{"canary", "early", "broad"} {
		if h := Held(rings, ring, 7, nil, nil); h == nil || h.Code != CodeGate {
			t.Errorf("%s: %+v", ring, h)
		}
	}
	v := Step(nil, Input{7, noon, rings[:2], &Census{}, noon})
	if h := Held(rings, "broad", 7, v, nil); h == nil || h.Code != CodeGate {
		t.Errorf("a ring without a verdict: %+v", h)
	}
	// A fleet that has asked for nothing of this is served as ever.
	if h := Held([]schema.Ring{{Name: "all", Delay: hour}}, "all", 7, nil, nil); h != nil {
		t.Errorf("%+v", h)
	}
	pause := &Act{By: "mia", At: noon, Reason: "disk alarms"}
	if h := Held([]schema.Ring{{Name: "all"}}, "all", 7, nil, pause); h == nil || h.Code != CodePaused ||
		h.Why != "the rollout is paused by mia at 2026-11-28T12:00:00Z: disk alarms" {
		t.Errorf("%+v", h)
	}
}

func TestTimeThatNoServerWatchedDoesNotCount(t *testing.T) {
	f := newFleet(t, 5, 1, 1)
	f.rings[1].Delay = 0
	f.set("canary", 5, well)
	f.pass(time.Hour)
	watched := func() time.Duration { return time.Duration(f.v.Ring("early").Gate.Watched) }
	f.now = f.now.Add(72 * time.Hour) // the server was off
	f.pass(0)
	if watched() != time.Hour+maxStep {
		t.Errorf("watched for %s", watched())
	}
	f.now = f.now.Add(-30 * 24 * time.Hour) // its clock was wrong, and was set back
	f.pass(0)
	f.pass(0)
	if watched() != time.Hour+maxStep {
		t.Errorf("watched for %s", watched())
	}
	f.pass(20 * time.Minute)
	f.now = f.now.Add(-2 * time.Minute) // the same minutes again
	f.pass(2 * time.Minute)
	if watched() != time.Hour+maxStep+20*time.Minute {
		t.Errorf("watched for %s", watched())
	}
	f.hosts["canary"][0] = Host{Kind: Pending, Newest: 7, Runs: 7} // a break
	f.pass(0)
	if watched() != 0 {
		t.Errorf("watched for %s", watched())
	}
}

func TestSomebodyHaltsResumesAndPromotes(t *testing.T) {
	f := newFleet(t, 5, 10, 100)
	mia := Act{By: "mia", At: noon, Reason: "a customer calls"}
	f.pass(0)
	var err error
	must := func(v *Verdict, err error) *Verdict {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	f.v = must(f.v.Stop(mia))
	f.set("canary", 5, well)
	f.pass(30 * time.Hour)
	f.held("canary", CodeHalted, "release 7 is halted: halted by mia at 2026-11-28T12:00:00Z: a customer calls")
	if _, err := f.v.Stop(mia); err == nil {
		t.Error("halted twice")
	}
	if _, _, err := f.v.Promote("broad", mia, f.now); err == nil || !strings.Contains(err.Error(), "is halted") {
		t.Errorf("promoted while halted: %v", err)
	}
	f.v = must(f.v.Resume(mia))
	if _, err := f.v.Resume(mia); err == nil {
		t.Error("resumed twice")
	}
	f.pass(0)
	f.held("canary", "", "")
	f.set("early", 2, ill)
	f.pass(0)
	f.held("early", CodeHalted, "2 of 2 failed in ring early (100 %, limit 1 %)")
	f.v = must(f.v.Resume(mia))
	f.set("early", 1, ill)
	f.pass(0) // one more is not two more
	f.held("early", "", "")
	f.set("early", 1, rejected)
	f.pass(0)
	f.held("early", CodeHalted, "3 of 4 failed and 1 of 4 rejected it")

	f = newFleet(t, 5, 10, 100)
	f.pass(0)
	_, _, err = f.v.Promote("brod", mia, f.now)
	if err == nil || err.Error() != `there is no ring "brod"` {
		t.Error(err)
	}
	v, delayed, err := f.v.Promote("broad", mia, f.now)
	if err != nil || len(delayed) != 1 || delayed[0].Name != "early" {
		t.Fatalf("%v, %+v", err, delayed)
	}
	f.v = v
	f.pass(time.Hour) // a signed delay is not promoted
	f.held("early", CodeGate, "its signed delay, until 2026-11-29T12:00:00Z")
	f.held("broad", CodeGate, "ring early")
	f.pass(23 * time.Hour)
	f.held("early", "", "")
	f.held("broad", "", "")
	if g := f.v.Ring("broad").Gate.Text; g != "promoted by mia at 2026-11-28T12:00:00Z: a customer calls; saw 0 of 10 "+
		"hosts of early up to date" {
		t.Error(g)
	}
	if _, _, err := f.v.Promote("broad", mia, f.now); err == nil {
		t.Error("promoted twice")
	}
}

// Whatever happens: what is halted stays so, a ring with a gate opens after the ring before it and stays open, and two
// servers that step at the same time count it once.
func TestAnyHistoryKeepsTheRulesOfTheRollout(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 14))
		chance := func(of int) bool { return r.IntN(of) == 0 }
		var rings []schema.Ring
		for i, name := range []string{"a", "b", "c", "d"} {
			ring := schema.Ring{Name: name}
			if i > 0 && chance(2) {
				ring.Gate = &schema.Gate{Healthy: schema.Share(1 + r.IntN(10000)), Hosts: r.IntN(3),
					For: schema.Duration(r.IntN(3)) * hour}
			}
			if chance(2) {
				ring.Halt = &schema.Halt{Failed: schema.Share(r.IntN(9999)), Hosts: r.IntN(3)}
			}
			ring.Delay = schema.Duration(r.IntN(2)*r.IntN(5)) * hour
			rings = append(rings, ring)
		}
		hosts := map[string][]Host{}
		for _, ring := range rings {
			for range r.IntN(5) {
				hosts[ring.Name] = append(hosts[ring.Name], Host{Healthy, 7, 6, 0})
			}
		}
		var v *Verdict
		now := noon
		for range 60 {
			for _, list := range hosts {
				for i := range list {
					if chance(6) {
						list[i] = []Host{{Healthy, 7, 7, 0}, {Healthy, 7, 6, 0}, {Failed, 7, 6, 7}, {Pending, 7, 7, 0},
							{Aside, 7, 6, 0}, {Rejected, 7, 6, 7}, {Healthy, 8, 8, 0}}[r.IntN(7)]
					}
				}
			}
			var c Census
			for name, list := range hosts {
				for _, h := range list {
					c.Add(name, h)
				}
			}
			now = now.Add(time.Duration(r.IntN(90)-20) * time.Minute)
			in := Input{7, noon, rings, &c, now}
			next := again(t, Step(v, in))
			if twice := Step(next, in); !reflect.DeepEqual(twice, next) {
				t.Fatalf("seed %d: a second step at the same time:\n%+v\n%+v", seed, next, twice)
			}
			if v != nil && v.Halt != nil && !reflect.DeepEqual(next.Halt, v.Halt) {
				t.Fatalf("seed %d: halted %+v, then %+v", seed, v.Halt, next.Halt)
			}
			gated := false
			for i, ring := range rings {
				own := next.Rings[i]
				gated = gated || ring.Gate != nil
				if v != nil && !v.Rings[i].Opened.IsZero() && !own.Opened.Equal(v.Rings[i].Opened) {
					t.Fatalf("seed %d: ring %s was open", seed, ring.Name)
				}
				opens := !own.Opened.IsZero() && (v == nil || v.Rings[i].Opened.IsZero())
				if opens && (next.Halt != nil || now.Before(own.NotBefore) ||
					gated && i > 0 && next.Rings[i-1].Opened.IsZero()) {
					t.Fatalf("seed %d: ring %s opened:\n%+v", seed, ring.Name, next)
				}
				if g := own.Gate; opens && g != nil && g.Saw.Hosts > 0 &&
					(g.Saw.Healthy == 0 || g.Watched < ring.Gate.For) {
					t.Fatalf("seed %d: ring %s opened on nothing: %+v", seed, ring.Name, g)
				}
				held := Held(rings, ring.Name, 7, next, nil) != nil
				if want := next.Halt != nil || gated && own.Opened.IsZero(); held != want {
					t.Fatalf("seed %d: ring %s is held: %t\n%+v", seed, ring.Name, held, next)
				}
				if held && own.State != Done && own.Why == "" {
					t.Fatalf("seed %d: ring %s is held in silence", seed, ring.Name)
				}
			}
			if v = next; chance(40) && v.Halt != nil {
				v, _ = v.Resume(Act{By: "mia", At: now})
			}
		}
	}
}

func TestNumbersAreWrittenAsOnThePages(t *testing.T) {
	for want, got := range map[string]string{"1,234,567": count(1234567), "999": count(999), "< 0.1 %": part(1, 99999),
		"> 99.9 %": part(99999, 100000), "100 %": part(3, 3), "99.1 %": part(212, 214), "50 %": part(1, 2),
		"0 %": part(0, 0), "0.5 %": share(50), "89 s": span(89 * time.Second), "89 min": span(89 * time.Minute),
		"35 h":   span(35 * time.Hour),
		"2 days": span(48 * time.Hour)} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
