package inventorytest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
)

// servers are two that share a database.
func servers(t *testing.T, place Place) (a, b *inventory.DB) {
	t.Helper()
	at := place(t)
	a, b = open(t, at), open(t, at)
	t.Cleanup(func() { closed(t, a, b) })
	return a, b
}

func closed(t testing.TB, all ...*inventory.DB) {
	t.Helper()
	for _, db := range all {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func registered(t testing.TB, db *inventory.DB, r inventory.Registration) {
	t.Helper()
	if _, err := db.Register(t.Context(), r, anyway); err != nil {
		t.Fatal(err)
	}
}

// polled is a report that is written when it returns.
func polled(t testing.TB, db *inventory.DB, host string, at time.Time, report schema.Report) {
	t.Helper()
	report.LastCheck, report.NextCheck = at, at.Add(time.Minute)
	if err := db.Report(host, inventory.Seen{At: at, Address: "192.0.2.7:4711", Report: report}); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func number(t testing.TB, db *inventory.DB) int64 {
	t.Helper()
	n, err := db.Number(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func changes(t testing.TB, db *inventory.DB, after int64) *inventory.Changes {
	t.Helper()
	c, err := db.Changes(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func names(hosts []inventory.Host) (list []string) {
	for _, h := range hosts {
		list = append(list, h.Host)
	}
	slices.Sort(list)
	return list
}

func state(t testing.TB, db *inventory.DB, host string) (time.Time, schema.Report) {
	t.Helper()
	h, err := db.Host(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	return h.Seen.At, h.Seen.Report
}

func whatChangesAtOneServerIsToldByTheOther(t *testing.T, place Place) {
	a, b := servers(t, place)
	after := number(t, b)
	is := func(hosts, gone []string) *inventory.Changes {
		t.Helper()
		c := changes(t, b, after)
		after = c.Number
		slices.Sort(c.Gone)
		if !slices.Equal(names(c.Hosts), hosts) || !slices.Equal(c.Gone, gone) || c.Behind {
			t.Errorf("%+v, want %v and without %v", c, hosts, gone)
		}
		return c
	}
	is(nil, nil)
	registered(t, a, registration("web01", "s"))
	registered(t, a, registration("web02", "s"))
	is([]string{"web01", "web02"}, nil)
	polled(t, a, "web01", t0, schema.Report{State: schema.StateCurrent})
	h := is([]string{"web01"}, nil).Hosts[0]
	if h.Seen.Report.State != schema.StateCurrent || !h.Seen.At.Equal(t0) {
		t.Errorf("%+v", h)
	}
	if err := a.End(t.Context(), "web02", ended(inventory.Revoked, "ops", t0)); err != nil {
		t.Fatal(err)
	}
	if c := is([]string{"web02"}, nil); c.Hosts[0].End.How != inventory.Revoked {
		t.Errorf("%+v", c.Hosts[0])
	}
	if err := a.Forget(t.Context(), "web02"); err != nil {
		t.Fatal(err)
	}
	is(nil, []string{"web02"})
	if err := a.Rename(t.Context(), "web01", "db01"); err != nil {
		t.Fatal(err)
	}
	if c := is([]string{"db01"}, []string{"web01"}); !c.Hosts[0].Seen.At.Equal(t0) {
		t.Errorf("%+v", c.Hosts[0])
	}
	is(nil, nil)
}

func aPollWithoutNewsMovesOnlyWhenItWasSeen(t *testing.T, place Place) {
	a, b := servers(t, place)
	registered(t, a, registration("web01", "s"))
	current := schema.Report{State: schema.StateCurrent, Details: &schema.Details{Interval: 60}}
	polled(t, a, "web01", t0, current)
	after := number(t, b)
	at := t0
	for _, details := range []*schema.Details{nil, {Interval: 60}} {
		at = at.Add(time.Minute)
		current.Details = details
		polled(t, a, "web01", at, current)
	}
	if c := changes(t, b, after); c.Number != after {
		t.Errorf("polls without news wrote %+v", c)
	}
	if seen, r := state(t, a, "web01"); !seen.Equal(at) || !r.LastCheck.Equal(at) ||
		!r.NextCheck.Equal(at.Add(time.Minute)) || r.Details == nil {
		t.Errorf("the server that was polled knows %v, %+v", seen, r)
	}
	if err := a.FlushPolled(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := changes(t, b, after)
	if c.Number != after+1 || len(c.Hosts) != 0 || len(c.Polled) != 1 || !c.Polled["web01"].Equal(at) {
		t.Errorf("%+v", c)
	}
	if seen, r := state(t, b, "web01"); !seen.Equal(at) || !r.LastCheck.Equal(at) {
		t.Errorf("the other server knows %v, %+v", seen, r)
	}
	after = c.Number
	for name, news := range map[string]schema.Report{
		"another state": {State: schema.StateFailed},
		"other details": {State: schema.StateCurrent, Details: &schema.Details{Interval: 61}},
	} {
		at = at.Add(time.Minute)
		polled(t, a, "web01", at, news)
		if c := changes(t, b, after); c.Number != after+1 || len(c.Hosts) != 1 {
			t.Errorf("%s: %+v", name, c)
		}
		after++
		at = at.Add(time.Minute)
		polled(t, a, "web01", at, schema.Report{State: schema.StateCurrent, Details: &schema.Details{Interval: 60}})
		after = changes(t, b, after).Number
	}
	at = at.Add(time.Hour) // its last check is older and older
	if err := a.Report("web01", inventory.Seen{At: at, Address: "192.0.2.7:4712",
		Report: schema.Report{State: schema.StateCurrent, LastCheck: t0, NextCheck: at}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, r := state(t, b, "web01"); !r.LastCheck.Equal(t0) {
		t.Errorf("the host's last check is said to be %v", r.LastCheck)
	}
}

func whenHostsPolledSurvivesARestartAndAFold(t *testing.T, place Place) {
	at := place(t)
	db := open(t, at)
	want := map[string]time.Time{}
	for i := range 3 {
		host := fmt.Sprint("web", i)
		registered(t, db, registration(host, "s"))
		polled(t, db, host, t0, schema.Report{State: schema.StateCurrent})
		want[host] = t0
	}
	first := number(t, db)
	for i := range 3 * inventory.FoldAfter {
		host := fmt.Sprint("web", i%2)
		want[host] = t0.Add(time.Duration(i+1) * time.Second)
		polled(t, db, host, want[host], schema.Report{State: schema.StateCurrent})
		if err := db.FlushPolled(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if c := changes(t, db, first); !c.Behind {
		t.Errorf("nothing was dropped since change %d: %+v", first, c)
	}
	if c := changes(t, db, number(t, db)-inventory.FoldAfter); c.Behind {
		t.Error("what was written a little ago is dropped")
	}
	closed(t, db)
	db = open(t, at)
	defer closed(t, db)
	got := map[string]time.Time{}
	for h, err := range db.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got[h.Host] = h.Seen.At
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A host that polls at two servers in turn, and goes back to what it was.
func theLastReportCountsWhicheverServerItCameTo(t *testing.T, place Place) {
	a, b := servers(t, place)
	registered(t, a, registration("web01", "s"))
	for i, step := range []struct {
		at    *inventory.DB
		state string
	}{{a, schema.StateCurrent}, {b, schema.StateFailed}, {a, schema.StateCurrent}, {a, schema.StateFailed},
		{b, schema.StateFailed}, {b, schema.StateCurrent}, {a, schema.StateCurrent}} {
		polled(t, step.at, "web01", t0.Add(time.Duration(i)*time.Minute), schema.Report{State: step.state})
		for _, db := range []*inventory.DB{a, b} {
			if _, r := state(t, db, "web01"); r.State != step.state {
				t.Errorf("step %d: %s, want %s", i, r.State, step.state)
			}
		}
	}
}

// The first server writes its report only after the host has polled at the second, where that was no news.
func aReportThatOneServerWritesLateDoesNotHideALaterOne(t *testing.T, place Place) {
	a, b := servers(t, place)
	registered(t, a, registration("web01", "s"))
	polled(t, a, "web01", t0, schema.Report{State: schema.StateCurrent})
	polled(t, a, "web01", t0.Add(2*time.Minute), schema.Report{State: schema.StateCurrent})
	polled(t, b, "web01", t0.Add(time.Minute), schema.Report{State: schema.StateFailed}) // it took its time
	if _, r := state(t, a, "web01"); r.State != schema.StateCurrent {
		t.Errorf("the older report counts: %s", r.State)
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, r := state(t, b, "web01"); r.State != schema.StateCurrent {
		t.Errorf("the older report counts at the other server: %s", r.State)
	}
}

func aRegistrationIsLiveAtEveryServerFromItsFirstPollOn(t *testing.T, place Place) {
	a, b := servers(t, place)
	r := registration("web01", "one")
	registered(t, a, r)
	polled(t, b, "web01", t0.Add(time.Minute), schema.Report{State: schema.StateCurrent})
	r.Secret, r.At = sum("two"), t0.Add(time.Hour)
	registered(t, b, r)
	r.Secret = sum("three")
	if _, err := a.Register(t.Context(), r, inventory.Claim{}); err != nil {
		t.Errorf("nobody has polled with it: %v", err)
	}
	// The same report as before, but with the new registration.
	polled(t, b, "web01", t0.Add(2*time.Hour), schema.Report{State: schema.StateCurrent})
	if _, err := a.Register(t.Context(), r, inventory.Claim{}); err != inventory.ErrLive {
		t.Errorf("it polls: %v", err)
	}
}

func aClockThatWasAheadIsForgotten(t *testing.T, place Place) {
	a, b := servers(t, place)
	registered(t, a, registration("web01", "s"))
	polled(t, a, "web01", t0.Add(24*time.Hour), schema.Report{State: schema.StateCurrent})
	polled(t, a, "web01", t0.Add(25*time.Hour), schema.Report{State: schema.StateCurrent})
	if err := a.FlushPolled(t.Context()); err != nil {
		t.Fatal(err)
	}
	polled(t, a, "web01", t0, schema.Report{State: schema.StateCurrent})
	for _, db := range []*inventory.DB{a, b} {
		if at, _ := state(t, db, "web01"); !at.Equal(t0) {
			t.Errorf("it polled at %v", at)
		}
	}
}

// A reader that asks all the time while servers write, as numbers of a sequence would be missed.
func noChangeIsMissedHoweverLateItIsWritten(t *testing.T, place Place) {
	at := place(t)
	a, b, reader := open(t, at), open(t, at), open(t, at)
	defer closed(t, a, b, reader)
	const each = 20
	told := map[string]bool{}
	after := number(t, reader)
	var wg sync.WaitGroup
	for i, db := range []*inventory.DB{a, a, b, b} {
		wg.Go(func() {
			for j := range each {
				r := registration(fmt.Sprintf("h%d-%d", i, j), "s")
				if _, err := db.Register(t.Context(), r, anyway); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	for last := false; ; {
		c := changes(t, reader, after)
		after = c.Number
		for _, h := range c.Hosts {
			told[h.Host] = true
		}
		if last {
			break
		}
		select {
		case <-done:
			last = true // and once more
		default:
		}
	}
	if len(told) != 4*each {
		t.Errorf("of %d registrations %d were told", 4*each, len(told))
	}
}

// entries are so many hosts with reports and packages.
func entries(n int) (list []inventory.Entry) {
	for i := range n {
		h := inventory.Host{Registration: registration(fmt.Sprintf("h%05d", i), fmt.Sprint("s", i))}
		if i%2 == 0 {
			h.Seen = inventory.Seen{At: t0.Add(time.Hour), Address: "192.0.2.7:1", Timestamp: 7, Root: 1,
				Report: schema.Report{State: schema.StateCurrent, Details: &schema.Details{Interval: 60}}}
		}
		list = append(list, inventory.Entry{Host: &h, Packages: []inventory.Package{
			{SHA256: sum("p"), Manifest: sum("m")}, {SHA256: sum("q"), Manifest: sum("n")}}})
	}
	return list
}

// exported is everything that Export yields.
func exported(t testing.TB, db *inventory.DB) (list []inventory.Entry) {
	t.Helper()
	for e, err := range db.Export(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func whatIsExportedIsTheSameWhereItIsImportedAndAgain(t *testing.T, place Place) {
	want := entries(600) // some pages
	served := inventory.Served{Anchor: sum("root"), Timestamp: 9, File: []byte("{}"), At: t0}
	want = append([]inventory.Entry{{Served: &served}}, want...)
	a := open(t, place(t))
	defer closed(t, a)
	for _, expect := range []inventory.Imported{{Hosts: 600}, {Same: 600}} {
		done, err := a.Import(t.Context(), want, false)
		if err != nil || done != expect {
			t.Errorf("%+v, %v", done, err)
		}
		if got := exported(t, a); !reflect.DeepEqual(got, want) {
			t.Errorf("%d entries came back as %d", len(want), len(got))
		}
	}
	b := open(t, place(t))
	defer closed(t, b)
	done, err := a.CopyTo(t.Context(), b)
	if err != nil || done.Hosts != 600 {
		t.Errorf("%+v, %v", done, err)
	}
	if got := exported(t, b); !reflect.DeepEqual(got, want) {
		t.Errorf("%d entries were copied as %d", len(want), len(got))
	}
	if err := b.Append(t.Context(), inventory.Event{At: t0, What: "x"}); err != nil {
		t.Error(err)
	}
	if _, err := a.CopyTo(t.Context(), b); err == nil || fault.HintOf(err) == "" {
		t.Errorf("it was copied over another one: %v", err)
	}
}

func anImportReplacesNoLiveRegistrationUnlessToldTo(t *testing.T, place Place) {
	db := open(t, place(t))
	defer closed(t, db)
	r := registration("h00001", "mine")
	registered(t, db, r)
	polled(t, db, "h00001", t0.Add(time.Minute), schema.Report{State: schema.StateCurrent})
	now := inventory.Served{Anchor: sum("root"), Timestamp: 9, File: []byte("{}"), At: t0}
	if err := db.Serve(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	old := inventory.Served{Anchor: sum("root"), Timestamp: 8, File: []byte("{}"), At: t0}
	list := append(entries(3), inventory.Entry{Served: &old})
	var live *inventory.LiveError
	_, err := db.Import(t.Context(), list, false)
	if !errors.As(err, &live) || !slices.Equal(live.Hosts, []string{"h00001"}) {
		t.Errorf("%v", err)
	}
	if _, err := db.Secret(t.Context(), "h00000"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is half done: %v", err)
	}
	if done, err := db.Import(t.Context(), list, true); err != nil || done.Hosts != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	if got, err := db.Secret(t.Context(), "h00001"); err != nil || got != sum("s1") {
		t.Errorf("%v, %v", got, err)
	}
	if s, err := db.Served(t.Context(), sum("root")); err != nil || s.Timestamp != 9 {
		t.Errorf("what was served went back to %d, %v", s.Timestamp, err)
	}
	r.At = t0.Add(24 * time.Hour)
	registered(t, db, r)
	if done, err := db.Import(t.Context(), entries(3), false); err != nil || done.Older != 1 || done.Same != 2 {
		t.Errorf("%+v, %v", done, err)
	}
}
