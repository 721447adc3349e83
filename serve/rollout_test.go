package serve

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
	"bakehouse/serve/audit"
	"bakehouse/serve/rollout/keeper"
)

// give gives a host of a ring a package, newly in a release.
func (f *fleet) give(host, ring string, release int64, p, before pack) {
	a := schema.Assignment{Host: host, SHA256: p.digest, Length: int64(len(p.bytes)),
		Target: f.Offer(p.manifest, "0123456789abcdef", release)}
	a.Ring = ring
	a.Older = []schema.Candidate{{SHA256: before.digest, Length: int64(len(before.bytes)), Manifest: before.manifest,
		Recipe: "0123456789abcdef", Release: release - 1, Since: f.Now}}
	f.Assign(a)
}

// runs polls as a host that runs a package and was told of another, and returns by which code it is held.
func (w *site) runs(f *fleet, c caller, p, target pack, release int64, state, code string) (held string,
	a schema.PollAnswer) {
	w.t.Helper()
	r := usual(p)
	r.Target, r.Release, r.State, r.Code = target.digest, release, state, code
	a, got := w.poll(c, schema.PollRequest{MetadataVersions: held1(f), Held: true, HoldCode: "?", Report: r})
	if got.status != http.StatusOK {
		w.t.Fatalf("%d %s", got.status, got.body)
	}
	return a.HoldCode, a
}

func held1(f *fleet) schema.MetadataVersions { return held(f.Timestamp.Signed.Version, 1) }

func TestTheCanaryOpensOrHaltsTheNextRing(t *testing.T) {
	f, packs := standardFleet(t)
	f.Policy.Rings = []schema.Ring{{Name: "canary", Halt: &schema.Halt{}},
		{Name: "broad", Gate: &schema.Gate{Healthy: schema.Whole}}, {Name: "last", Gate: &schema.Gate{Healthy: 1}}}
	next := f.bake("next of all")
	f.give("web01", "canary", 2, next, packs["web01"])
	f.give("web02", "broad", 2, next, packs["web02"])
	f.publish()
	database := filepath.Join(t.TempDir(), "inventory.db")
	w := startWith(t, f, database, nil)
	canary, broad := w.register("web01"), w.register("web02")
	old := func(c caller, state, code string) string {
		t.Helper()
		code, a := w.runs(f, c, packs[c.name], packs[c.name], 1, state, code)
		if code != "" && !strings.Contains(a.Hold, "release 2") || a.Next < 60 {
			t.Errorf("held for %q, asked again after %d s", a.Hold, a.Next)
		}
		return code
	}
	current := func(c caller) string { return old(c, schema.StateCurrent, schema.CodeCurrent) }
	if got := current(canary); got != "" {
		t.Errorf("the canary is held: %s", got)
	}
	if got := current(broad); got != outcome.CodeGate {
		t.Errorf("broad is held for %q", got)
	}
	row := func(host, want string) {
		t.Helper()
		if r, _, _, ok := w.server.rollout.live.Table.Row(host, nil); !ok || string(r.State)+" "+r.Code != want {
			t.Errorf("%s is %s (%s), want %s", host, r.State, r.Code, want)
		}
	}
	row("web02", "waiting gate")
	metrics := string(w.get(mia, schema.MetricsPath).body)
	for _, line := range []string{`bakehouse_gate_hosts{ring="broad",counted="all"} `,
		`bakehouse_gate_hosts{ring="broad",counted="healthy"} 0`, `bakehouse_gate_healthy_ratio{ring="broad"} 1`,
		`bakehouse_halt_failed_ratio{ring="canary"} 0`} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("no %s in the metrics", line)
		}
	}
	w.runs(f, canary, next, next, 2, schema.StateCurrent, schema.CodeCurrent)
	w.server.rollout.step(t.Context())
	if got := current(broad); got != "" {
		t.Errorf("behind a healthy canary, broad is held for %q", got)
	}
	row("web02", "updating install")

	// It is open for another server of the inventory, and after a restart.
	w.stop()
	w = startWith(t, f, database, nil)
	if got := current(broad); got != "" {
		t.Errorf("after a restart: %q", got)
	}

	// The next release fails at the canary, and nobody gets it until its revert.
	bad := f.bake("bad for all")
	f.give("web01", "canary", 3, bad, next)
	f.give("web02", "broad", 3, bad, packs["web02"])
	f.publish()
	check(t, w.server.releases.Follow(t.Context()))
	w.runs(f, canary, next, bad, 2, schema.StateFailed, outcome.CodeUnhealthy)
	w.server.rollout.step(t.Context())
	for _, c := range []caller{canary, broad} {
		code, a := w.runs(f, c, packs["web02"], packs["web02"], 1, schema.StateHeld, outcome.CodeGate)
		if code != outcome.CodeHalted ||
			a.Hold != "release 3 is halted: 1 of 1 failed in ring canary (100 %, limit 0 %)" {
			t.Errorf("%s is held for %q: %s", c.name, code, a.Hold)
		}
	}
	row("web02", "waiting halted")
	f.give("web01", "canary", 4, next, bad)
	f.give("web02", "broad", 4, packs["web02"], bad)
	f.publish()
	check(t, w.server.releases.Follow(t.Context()))
	code, _ := w.runs(f, canary, packs["web01"], packs["web01"], 1, schema.StateFailed, outcome.CodeUnhealthy)
	if code != "" {
		t.Errorf("the canary is held from the revert: %s", code)
	}
	if code, _ := w.runs(f, broad, packs["web02"], packs["web02"], 1, schema.StateCurrent, "current"); code != "" {
		t.Errorf("who has what the revert gives is held: %s", code)
	}
}

func TestAPauseOfTheRolloutHoldsEverybodyAndSoonerPollsEnd(t *testing.T) {
	f, packs := standardFleet(t)
	f.assign("web01", 2, f.bake("a newer one"), packs["web01"])
	f.publish()
	w := start(t, f)
	c := w.register("web01")
	_, err := w.server.rollout.verdicts.Act(t.Context(), keeper.Command{Verb: keeper.Pause, Reason: "storms"}, "mia")
	check(t, err)
	code, a := w.runs(f, c, packs["web01"], packs["web01"], 1, schema.StateCurrent, "current")
	if code != outcome.CodeHeldRollout || !strings.HasSuffix(a.Hold, ": storms") {
		t.Errorf("%s: %s", code, a.Hold)
	}
	// Who knows that already is told nothing, but when to come again.
	r := usual(packs["web01"])
	r.Release = 1
	a, got := w.poll(c, schema.PollRequest{MetadataVersions: held1(f), Held: true, HoldCode: code, Report: r})
	if got.status == http.StatusOK && (len(a.Files) != 0 || a.Next == 0) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if after := w.server.rollout.verdicts.Next(1e6); after != 5000*time.Second {
		t.Errorf("a million hosts are asked to come after %s", after)
	}
	_, err = w.server.rollout.verdicts.Act(t.Context(), keeper.Command{Verb: keeper.Resume}, "mia")
	check(t, err)
	if code, _ := w.runs(f, c, packs["web01"], packs["web01"], 1, schema.StateCurrent, "current"); code != "" {
		t.Errorf("resumed: %s", code)
	}
}

func TestUsersActOnTheRolloutOfTheHostsThatTheirPermissionCovers(t *testing.T) {
	f, packs := standardFleet(t)
	hash := f.access.Users["idle"].Hash
	f.access.Users["ops"] = schema.User{Hash: hash, Permissions: map[string][]string{schema.PermRollout: {"~.*"}}}
	f.access.Users["web"] = schema.User{Hash: hash, Permissions: map[string][]string{schema.PermRollout: {"web01"}}}
	f.Policy.Rings = []schema.Ring{{Name: "canary"}, {Name: "broad", Delay: schema.Duration(48 * time.Hour),
		Gate: &schema.Gate{Healthy: schema.Whole}}}
	next := f.bake("next of all")
	for host := range packs {
		f.give(host, "broad", 2, next, packs[host])
	}
	f.give("web01", "canary", 2, next, packs["web01"])
	f.publish()
	w := start(t, f)
	c := w.register("web02")
	var state struct {
		Paused   *struct{ By, Reason string }
		Releases []struct{ Release int64 }
	}
	for _, step := range []struct{ user, args, want, fails string }{
		{"ops", "status", "canary  open     1", ""},
		{"ops", "status", "broad   waiting  7      0           0       0         waits for 100 % of canary up to " +
			"date on release 2 (0 of 0 now); 1 more do not count: paused, not selected or not registered; that is too " +
			"few, so it opens by promote alone", ""},
		{"mia", "status", "release 2, published ", ""},
		{"idle", "status", "", "user idle has no permission view"},
		{"mia", "halt", "", "user mia has no permission rollout"},
		{"web", "pause", "", "user web has no permission rollout for host web"},
		{"web", "promote broad", "", "user web has no permission rollout for host web"},
		{"web", "promote canary", "", "ring canary is open for release 2 already"},
		{"ops", "promote brod", "", `there is no ring "brod"`},
		{"ops", "promote", "", "accepts 1 arg(s), received 0"},
		{"ops", "halt --release 7", "", "there is no verdict on release 7"},
		{"ops", "promote broad --reason checked", "the gate of ring broad is open for release 2\nring broad waits " +
			"for its signed delay until ", ""},
		{"ops", "promote broad", "to end it now, change rollout.cue and reconcile:\n\t{name: \"broad\", " +
			"delay: \"0s\"}\n", ""},
		{"ops", "halt --reason smoke", "release 2 is halted: no further host gets it\n", ""},
		{"ops", "halt", "", "release 2 is halted already: halted by ops at "},
		{"ops", "status", "halted since ", ""},
		{"ops", "pause --json", `"done": [`, ""},
		{"ops", "status", "the rollout is paused by ops at ", ""},
		{"ops", "resume", "the pause is over\nrelease 2 goes on; it was halted: halted by ops at ", ""},
		{"ops", "resume", "", "the rollout is not paused, and release 2 is not halted"},
	} {
		out, err := w.commands(step.user, append([]string{"rollout"}, strings.Fields(step.args)...)...)
		switch {
		case step.fails != "" && (err == nil || !strings.Contains(err.Error(), step.fails) || out != ""):
			t.Errorf("%s: rollout %s: %q, %v; want %q", step.user, step.args, out, err, step.fails)
		case step.fails == "" && (err != nil || !strings.Contains(out, step.want)):
			t.Errorf("%s: rollout %s: %v\n%s\nwant %s", step.user, step.args, err, out, step.want)
		}
	}
	out, err := w.commands("ops", "rollout", "status", "--json")
	check(t, err)
	check(t, json.Unmarshal([]byte(out), &state))
	if state.Paused != nil || len(state.Releases) != 2 || state.Releases[0].Release != 2 {
		t.Errorf("%s", out)
	}
	// The signed delay is not over: the host itself waits for it, and by a clock that is ahead its ring is held.
	if code, _ := w.runs(f, c, packs["web02"], packs["web02"], 1, schema.StateCurrent, "current"); code != "" {
		t.Errorf("held for %q", code)
	}
	events, err := w.db.Events(t.Context(), time.Time{}, 100)
	check(t, err)
	var log []string
	for _, e := range events {
		if e.What == audit.RolloutActed {
			log = append(log, e.Who+" "+e.Detail)
		}
	}
	if got := strings.Join(log, "\n"); len(log) != 5 ||
		!strings.Contains(got, "ops halt: release 2 is halted: no further host gets it (smoke)") {
		t.Errorf("audit log:\n%s", got)
	}
}
