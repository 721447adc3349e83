package reconcile

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/judge"
	"bakehouse/serve/store/maintain"
)

// All that is published, signatures aside, is a function of the state before, the commit, the time of issue and the
// program: whoever rebuilds it independently gets the same. With Ed25519 the signatures are equal, too.
func TestWhatIsPublishedIsAFunctionOfStateCommitTimeAndProgram(t *testing.T) {
	l := newLab(t)
	stores := []string{filepath.Join(l.dir, "one"), filepath.Join(l.dir, "two")}
	publish := func(message string, change func()) {
		t.Helper()
		change()
		l.commit(message)
		for i, location := range stores {
			o := l.options(location)
			if i == 1 { // as another machine does it
				o.CacheDir, o.Jobs = "", 1
			}
			out, err := Run(t.Context(), o, io.Discard)
			if err != nil || !out.Published {
				t.Fatalf("%s: %+v, %v", message, out, err)
			}
		}
		one, two := l.objects(stores[0]), l.objects(stores[1])
		if a, b := slices.Sorted(maps.Keys(one)), slices.Sorted(maps.Keys(two)); !slices.Equal(a, b) {
			t.Fatalf("%s: the stores have %q and %q", message, a, b)
		}
		for key, b := range one {
			if two[key] != b {
				t.Errorf("%s: %s differs:\n%.400q\n%.400q", message, key, b, two[key])
			}
		}
	}
	rings := func(canary string) func() {
		return func() {
			l.write("rollout.cue", "package fleet\n\nrollout: {\n\tenabled: true\n\trings: "+
				"[{name: \"canary\", when: hosts: [\"web01\"]}, {name: \"all\", delay: \""+canary+"\"}]\n}\n")
		}
	}
	publish("first", func() {})
	publish("a canary", func() { rings("2h")(); l.disk(80) })
	publish("its revert", func() {
		l.must(os.Remove(filepath.Join(l.repo(), "hosts", "web", "rules.cue")))
	})
	publish("a longer delay", rings("7d"))
	before := l.objects(stores[0])
	publish("a gate", func() {
		l.write("rollout.cue", "package fleet\n\nrollout: {\n\tenabled: true\n\trings: "+
			"[{name: \"canary\", when: hosts: [\"web01\"]}, {name: \"all\", delay: \"7d\",\n\t"+
			"\tgate: {healthy: \"95%\", hosts: 1, for: \"2h\"}, halt: failed: \"0.5%\"}]\n}\n")
	})
	for key := range l.objects(stores[0]) { // what hosts are given does not depend on gates
		_, was := before[key]
		folder, file, _ := strings.Cut(key, "/")
		if !was && (!slices.Contains([]string{"targets", "trees", "timestamps", "metadata"}, folder) ||
			strings.Contains(file, "bin")) {
			t.Errorf("a gate makes %s", key)
		}
	}
	publish("again, behind the delay", func() { l.disk(70) })
	publish("a host goes", func() {
		l.write("hosts/web/hosts.cue", "package web\n\ndefaults: labels: role: \"frontend\"\n\nhosts: web01: {}\n")
	})
	publish("a host has another name", func() {
		l.write("hosts/web/hosts.cue",
			"package web\n\ndefaults: labels: role: \"frontend\"\n\nhosts: www01: was: [\"web01\"]\n")
	})
	refresh := func() {
		t.Helper()
		l.now = l.now.Add(24 * time.Hour)
		for _, location := range stores {
			_, err := Refresh(t.Context(), l.options(location), io.Discard)
			l.must(err)
		}
	}
	refresh()
	publish("a next root", l.nextRoot)
	l.tool = "1.1.0"
	publish("by another version of the program", func() { l.disk(60) })
	refresh()
	for range 2 { // half of their lifetime later, targets and bins are renewed without a new release
		l.now = l.now.Add(100 * 24 * time.Hour)
		for _, location := range stores {
			_, err := Run(t.Context(), l.options(location), io.Discard)
			l.must(err)
		}
	}

	// Lifetimes that a commit changes hold for what is renewed from then on, and no release names that commit.
	l.write("fleet.cue", "package fleet\n\nname: \"acme\"\nurl: \"https://bakehouse.example\"\n"+
		"lifetimes: timestamp: \"3d\"\n")
	l.commit("shorter")
	refresh()
	l.write("fleet.cue", "package fleet\n\nname: \"acme\"\nurl: \"https://bakehouse.example\"\n")
	l.commit("as before")
	refresh()

	// All of it is clean, also to the newest program: it makes the same of every commit.
	m, err := l.monitor(stores[0], -1)
	if err != nil || len(m.Releases) != 16 || m.Status != judge.Clean {
		t.Errorf("%v\n%s", err, m.Text())
	}
	renewals := 0
	for _, v := range m.Releases {
		if v.Renewal {
			renewals++
		}
		if v.Reset || len(v.Unknown) > 0 {
			t.Errorf("%s", v.Text())
		}
	}
	if renewals < 3 {
		t.Errorf("%d renewals\n%s", renewals, m.Text())
	}

	// What gc leaves is clean as well: of renewals it keeps the newest, and older candidates are from before.
	_, err = maintain.GC(t.Context(), l.store(stores[0]), maintain.GCOptions{Anchor: l.top().Roots[0], Keep: 3})
	l.must(err)
	m, err = l.monitor(stores[0], -1)
	if err != nil || len(m.Releases) >= 16 || len(m.Releases) == 0 {
		t.Errorf("after gc: %v\n%s", err, m.Text())
	}
}
