package publish

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func TestHostsGetWhatWasPublished(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	sum := f.mustPublish(st, next(start, want("web01", "a"), want("db01", "b")))
	if !sum.Published || sum.Head != 1 || sum.Number != 1 || !slices.Equal(sum.Hosts, []string{"db01", "web01"}) {
		t.Errorf("first: %+v", sum)
	}
	h := f.host(st, t.TempDir(), start)
	a := h.mustGet(t, "web01", "a")
	if a.Release != 1 || !a.Since.Equal(start) || a.Ring != "all" || !a.Selected || len(a.Older) != 0 {
		t.Errorf("assignment %+v", a)
	}
	h.mustGet(t, "nobody", "")
	p := h.c.Policy()
	if p.Schema != schema.PolicySchema || p.Fleet != "acme" || !p.Issued.Equal(start) || !p.Enabled {
		t.Errorf("policy %+v", p)
	}
	r, err := h.c.Release(t.Context(), h.src)
	if err != nil || r.Number != 1 || r.Commit != "c0ffee" || r.Bake != 1 || !r.Issued.Equal(start) {
		t.Errorf("release %+v, %v", r, err)
	}
	if _, err := h.c.Access(t.Context(), h.src); err != nil {
		t.Error(err)
	}
}

func TestNothingChangedPublishesNothing(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.mustPublish(st, next(start, want("web01", "a")))
	n := next(start.Add(time.Hour), want("web01", "a"))
	n.Release.Commit = "another commit that changes nothing for any host"
	sum := f.mustPublish(st, n)
	if sum.Published || sum.Head != 1 || sum.Number != 1 || len(sum.Roles) != 0 {
		t.Errorf("%+v", sum)
	}
}

func TestOnlyTheChangedBinGetsANewVersion(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.mustPublish(st, next(start, want("web01", "a"), want("db01", "b")))
	sum := f.mustPublish(st, next(start.Add(time.Hour), want("web01", "a2"), want("db01", "b")))
	h := f.host(st, t.TempDir(), start.Add(time.Hour))
	h.mustGet(t, "web01", "a2")
	if want := []string{h.c.BinOf("web01"), "targets", "snapshot", "timestamp"}; !slices.Equal(sum.Roles, want) {
		t.Errorf("signed %q, want %q", sum.Roles, want)
	}
	db := h.mustGet(t, "db01", "b")
	if db.Release != 1 || !db.Since.Equal(start) {
		t.Errorf("unchanged host: release %d since %s", db.Release, db.Since)
	}
	if p := h.c.Policy(); !p.Issued.Equal(start.Add(time.Hour)) {
		t.Errorf("issued %s", p.Issued)
	}
}

func TestReleaseNumbersAndOlderCandidates(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	var got *schema.Assignment
	for i, pkg := range []string{"a", "b", "c", "d", "e", "b"} {
		now := start.Add(time.Duration(i) * time.Hour)
		f.mustPublish(st, next(now, want("web01", pkg)))
		got = f.host(st, t.TempDir(), now).mustGet(t, "web01", pkg)
	}
	var seen []string
	for _, c := range got.Candidates() {
		seen = append(seen, fmt.Sprintf("%d@%s %s", c.Release, c.Since.Sub(start), c.SHA256.Short()))
	}
	short := func(s string) string { return schema.DigestOf([]byte(s)).Short() }
	// b came back when it was no candidate any more: a new release with its own since.
	if want := []string{"6@5h0m0s " + short("b"), "5@4h0m0s " + short("e"),
		"4@3h0m0s " + short("d")}; !slices.Equal(seen, want) {
		t.Errorf("candidates %q, want %q", seen, want)
	}
}

func TestRingAndSelectionChangeWithoutANewRelease(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.mustPublish(st, next(start, want("web01", "a")))
	w := want("web01", "a")
	w.Ring, w.Selected = "late", false
	sum := f.mustPublish(st, next(start.Add(time.Hour), w))
	if !sum.Published || len(sum.Hosts) != 0 || sum.Number != 1 {
		t.Errorf("%+v", sum)
	}
	a := f.host(st, "", start.Add(time.Hour)).mustGet(t, "web01", "a")
	if a.Ring != "late" || a.Selected || a.Release != 1 || !a.Since.Equal(start) {
		t.Errorf("%+v", a)
	}
}

func TestRemovedHostVanishes(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.mustPublish(st, next(start, want("web01", "a"), want("db01", "b")))
	sum := f.mustPublish(st, next(start.Add(time.Hour), want("db01", "b")))
	if !slices.Equal(sum.Removed, []string{"web01"}) {
		t.Errorf("removed %q", sum.Removed)
	}
	f.host(st, "", start.Add(time.Hour)).mustGet(t, "web01", "")
}

func TestHostStandingTwiceIsAnError(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	if _, err := f.publish(st, next(start, want("web01", "a"), want("web01", "b"))); err == nil {
		t.Error("accepted")
	}
}

func TestRenewal(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.mustPublish(st, next(start, want("web01", "a")))
	for _, c := range []struct {
		after time.Duration
		roles []string
	}{
		{3 * day, nil},
		{4 * day, []string{"timestamp"}},
		{16 * day, []string{"snapshot", "timestamp"}},
		{200 * day, []string{"bin-0", "bin-1", "bin-2", "bin-3", "bin-4", "bin-5", "bin-6", "bin-7", "targets",
			"snapshot", "timestamp"}},
	} {
		sum := f.mustPublish(st, next(start.Add(c.after), want("web01", "a")))
		if !slices.Equal(sum.Roles, c.roles) {
			t.Errorf("after %s: signed %q, want %q", c.after, sum.Roles, c.roles)
		}
	}
	a := f.host(st, "", start.Add(201*day)).mustGet(t, "web01", "a")
	if a.Release != 1 || !a.Since.Equal(start) {
		t.Errorf("renewed as release %d since %s", a.Release, a.Since)
	}
}

func TestExpiredTimestampAndSnapshotAreRenewedByTheirKeys(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.mustPublish(st, next(start, want("web01", "a")))
	later := start.Add(100 * day)
	h := f.host(st, t.TempDir(), later)
	var expired *trust.ExpiredError
	if _, err := h.get(t, "web01"); !errors.As(err, &expired) {
		t.Fatalf("a host took expired metadata: %v", err)
	}
	f.mustPublish(st, next(later, want("web01", "a")))
	h.mustGet(t, "web01", "a")
}

func TestExpiredTargetsAreRefused(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.Lifetimes.Targets = 30 * day
	f.mustPublish(st, next(start, want("web01", "a")))
	var expired *trust.ExpiredError
	if _, err := Read(t.Context(), st, f.Fleet, start.Add(31*day)); !errors.As(err, &expired) {
		t.Errorf("got %v", err)
	}
}

func TestClockFarBehindThePublishedStateIsAnError(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.mustPublish(st, next(start, want("web01", "a")))
	if _, err := f.publish(st, next(start.Add(-30*day), want("web01", "b"))); err == nil ||
		!strings.Contains(err.Error(), "clock") {
		t.Errorf("got %v", err)
	}
	f.mustPublish(st, next(start.Add(-time.Minute), want("web01", "b")))
	if p := f.host(st, "", start).c; p.Refresh(t.Context(), storeSource(st), nil) != nil ||
		p.Policy().Issued.Before(start) {
		t.Error("the issue time went back")
	}
}

func TestKeysMustBeHereBeforeAnythingIsWritten(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	if err := os.Remove(filepath.Join(f.dir, "timestamp.key")); err != nil {
		t.Fatal(err)
	}
	_, err := f.publish(st, next(start, want("web01", "a")))
	if err == nil || !strings.Contains(err.Error(), "timestamp.key") || fault.HintOf(err) == "" {
		t.Fatalf("without the timestamp key: %v", err)
	}
	for e, err := range st.List(t.Context(), "", "") {
		t.Errorf("the store holds %s, %v", e.Key, err)
	}
}

func TestRotatedKeysTakeOver(t *testing.T) {
	for _, use := range []string{"timestamp", "snapshot", "targets"} {
		t.Run(use, func(t *testing.T) {
			f, st := newFleet(t), openStore(t)
			dir := t.TempDir()
			f.mustPublish(st, next(start, want("web01", "a")))
			f.host(st, dir, start).mustGet(t, "web01", "a")
			f.rotate(use)
			sum := f.mustPublish(st, next(start.Add(time.Hour), want("web01", "a")))
			if !slices.Contains(sum.Roles, "root") || !slices.Contains(sum.Roles, use) {
				t.Errorf("signed %q", sum.Roles)
			}
			a := f.host(st, dir, start.Add(time.Hour)).mustGet(t, "web01", "a")
			if wantRelease := map[string]int64{"targets": 2}[use]; wantRelease != 0 && a.Release != wantRelease {
				t.Errorf("release %d after the targets key was dropped, want %d: nothing it signed is carried forward",
					a.Release, wantRelease)
			}
			if sum := f.mustPublish(st, next(start.Add(2*time.Hour), want("web01", "a"))); sum.Published {
				t.Errorf("not settled: %+v", sum)
			}
		})
	}
}
