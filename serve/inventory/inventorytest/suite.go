// Package inventorytest is what every inventory does, whichever database it is in, and the databases to show it with.
package inventorytest

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
)

// Run shows what every inventory does.
func Run(t *testing.T, place Place) {
	for _, show := range []func(*testing.T, Place){
		aRegistrationAndTheLastReportSurviveARestart,
		aReportWithoutDetailsKeepsThoseBeforeQueuedOrWritten,
		reRegistrationReplacesTheSecretAndKeepsTheReport,
		aRegistrationThatAHostPollsWithIsReplacedOnlyOnDemand,
		aHostSeesItsOwnReportAtOnceWhileOthersWrite,
		onlyTheLastPackagesOfAHostAreRemembered,
		whatAHostWasGivenIsWrittenWithReportsAndGoesWithTheHost,
		twoServersShareOneDatabase,
		whatWasServedLastOfAFleetIsRemembered,
		theMachinesOfAHostAreKeptTheLastFirstAndNotWithoutEnd,
		aTokenSurvivesARestartAsItWasMadeAndIsRevokedOnce,
		ofManyThatRaceForATokensLastUsesNoneGetsOneTooMany,
		aTokenThatIsSpentRegistersNobody,
		aLiveRegistrationIsReplacedByWhoHasItsSecret,
		anEndedRegistrationIsNoLongerOneAndIsRememberedUntilItIsForgotten,
		theAuditLogKeepsTheLastEventsInTheirOrder,
		theLastChangesOfAHostAreKeptAndGoWithIt,
		countsOfHostsAreKeptForTwoWeeks,
		allHostsAreListedWithTheirQueuedReports,
		aVerdictIsChangedByOneServerAtATimeAndSurvivesARestart,
		whatChangesAtOneServerIsToldByTheOther,
		aPollWithoutNewsMovesOnlyWhenItWasSeen,
		whenHostsPolledSurvivesARestartAndAFold,
		theLastReportCountsWhicheverServerItCameTo,
		aReportThatOneServerWritesLateDoesNotHideALaterOne,
		aRegistrationIsLiveAtEveryServerFromItsFirstPollOn,
		aClockThatWasAheadIsForgotten,
		noChangeIsMissedHoweverLateItIsWritten,
		whatIsExportedIsTheSameWhereItIsImportedAndAgain,
		anImportReplacesNoLiveRegistrationUnlessToldTo,
	} {
		name := runtime.FuncForPC(reflect.ValueOf(show).Pointer()).Name()
		t.Run(name[strings.LastIndex(name, ".")+1:], func(t *testing.T) { show(t, place) })
	}
}

func aRegistrationAndTheLastReportSurviveARestart(t *testing.T, place Place) {
	at := place(t)
	db := open(t, at)
	if _, err := db.Register(t.Context(), registration("web01", "s3cret"), anyway); err != nil {
		t.Fatal(err)
	}
	seen := inventory.Seen{At: t0.Add(time.Hour), Timestamp: 7, Root: 2,
		Report: schema.Report{State: schema.StateCurrent, Installed: sum("pkg"), LastCheck: t0}}
	if err := db.Report("web01", inventory.Seen{At: t0}); err != nil {
		t.Fatal(err)
	}
	if err := db.Report("web01", seen); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = open(t, at)
	defer db.Close()
	h, err := db.Host(t.Context(), "web01")
	if err != nil {
		t.Fatal(err)
	}
	if h.Registration != registration("web01", "s3cret") {
		t.Errorf("registration came back as %+v", h.Registration)
	}
	if h.Seen != seen {
		t.Errorf("report came back as %+v", h.Seen)
	}
}

func aReportWithoutDetailsKeepsThoseBeforeQueuedOrWritten(t *testing.T, place Place) {
	at := place(t)
	db := open(t, at)
	if _, err := db.Register(t.Context(), registration("web01", "s"), anyway); err != nil {
		t.Fatal(err)
	}
	version := int64(0)
	report := func(d *schema.Details) {
		t.Helper()
		version++
		s := inventory.Seen{At: t0, Timestamp: version, Report: schema.Report{Details: d}}
		if err := db.Report("web01", s); err != nil {
			t.Fatal(err)
		}
	}
	has := func(interval int64) {
		t.Helper()
		h, err := db.Host(t.Context(), "web01")
		if err != nil || h.Seen.Timestamp != version || h.Seen.Report.Details == nil ||
			h.Seen.Report.Details.Interval != interval {
			t.Errorf("%+v, %v; want interval %d", h, err, interval)
		}
	}
	reopen := func() {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, at)
	}
	report(&schema.Details{Interval: 60})
	report(nil)
	has(60)
	reopen()
	has(60)
	report(nil)
	has(60)
	reopen()
	has(60)
	report(&schema.Details{Interval: 90})
	has(90)
	reopen()
	has(90)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func reRegistrationReplacesTheSecretAndKeepsTheReport(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	if _, err := db.Secret(t.Context(), "web01"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("unknown host: %v", err)
	}
	for _, secret := range []string{"one", "two"} {
		if _, err := db.Register(t.Context(), registration("web01", secret), anyway); err != nil {
			t.Fatal(err)
		}
		if err := db.Report("web01", inventory.Seen{At: t0, Timestamp: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := db.Secret(t.Context(), "web01"); err != nil || got != sum("two") {
		t.Errorf("secret %v, %v", got, err)
	}
	if h, err := db.Host(t.Context(), "web01"); err != nil || h.Seen.Timestamp != 3 {
		t.Errorf("%+v, %v", h, err)
	}
}

func aRegistrationThatAHostPollsWithIsReplacedOnlyOnDemand(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	register := func(secret string, replace bool, want error) *inventory.Host {
		t.Helper()
		before, err := db.Register(t.Context(), registration("web01", secret), inventory.Claim{Replace: replace})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", secret, err)
		}
		return before
	}
	if before := register("first", false, nil); before != nil {
		t.Errorf("before the first there was %+v", before)
	}
	// The answer was lost: the host never had the secret.
	if before := register("second", false, nil); before == nil || before.Secret != sum("first") {
		t.Errorf("before the second there was %+v", before)
	}
	polled := inventory.Seen{At: t0.Add(time.Hour), Address: "192.0.2.7:4711"}
	if err := db.Report("web01", polled); err != nil {
		t.Fatal(err)
	}
	for _, replace := range []bool{false, true} {
		want := inventory.ErrLive
		if replace {
			want = nil
		}
		if before := register("third", replace, want); before == nil || before.Seen.Address != polled.Address ||
			!before.Seen.At.Equal(polled.At) {
			t.Errorf("before the third there was %+v", before)
		}
		if got, err := db.Secret(t.Context(), "web01"); err != nil || got == sum("third") != replace {
			t.Errorf("the secret was replaced: %v, %v", got == sum("third"), err)
		}
	}
}

func aHostSeesItsOwnReportAtOnceWhileOthersWrite(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			host := fmt.Sprintf("web%02d", i)
			if _, err := db.Register(t.Context(), registration(host, host), anyway); err != nil {
				t.Error(err)
			}
			for v := int64(1); v <= 30; v++ {
				if err := db.Report(host, inventory.Seen{At: t0, Timestamp: v}); err != nil {
					t.Error(err)
				}
				if h, err := db.Host(t.Context(), host); err != nil || h.Seen.Timestamp != v {
					t.Errorf("%s: reported %d, found %+v, %v", host, v, h, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func onlyTheLastPackagesOfAHostAreRemembered(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	var want []inventory.Package
	for i := range inventory.MaxPackages + 3 {
		p := inventory.Package{SHA256: sum(fmt.Sprint("p", i)), Manifest: sum(fmt.Sprint("m", i))}
		want = append(want, p)
		if err := db.Remember(t.Context(), "web01", p, t0.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			flush(t, db)
		}
	}
	want = want[len(want)-inventory.MaxPackages:]
	slices.Reverse(want)
	for _, when := range []string{"queued", "written"} {
		got, err := db.Packages(t.Context(), "web01")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", when, got, want)
		}
		flush(t, db)
	}
	if other, err := db.Packages(t.Context(), "web02"); err != nil || len(other) != 0 {
		t.Errorf("another host's: %v, %v", other, err)
	}
}

func flush(t testing.TB, db *inventory.DB) {
	t.Helper()
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What is queued is not lost with the server that was told, and does not outlive what it is about.
func whatAHostWasGivenIsWrittenWithReportsAndGoesWithTheHost(t *testing.T, place Place) {
	at := place(t)
	db := open(t, at)
	p := inventory.Package{SHA256: sum("p"), Manifest: sum("m")}
	machine := inventory.Machine{ID: "a", Last: t0}
	known := func(db *inventory.DB, host string) (packages, machines int) {
		t.Helper()
		given, err := db.Packages(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		met, err := db.Machines(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		return len(given), len(met)
	}
	for _, host := range []string{"keeps", "was", "forgotten", "again"} {
		registered(t, db, registration(host, "s"))
		if err := db.Remember(t.Context(), host, p, t0); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Meet(t.Context(), host, machine); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Rename(t.Context(), "was", "now"); err != nil {
		t.Fatal(err)
	}
	if err := db.Forget(t.Context(), "forgotten"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Register(t.Context(), registration("again", "s2"), anyway); err != nil {
		t.Fatal(err)
	}
	want := map[string][2]int{"keeps": {1, 1}, "was": {0, 0}, "now": {1, 1}, "forgotten": {0, 0}, "again": {1, 0}}
	for _, when := range []string{"at once", "after a restart"} {
		for host, n := range want {
			if packages, machines := known(db, host); packages != n[0] || machines != n[1] {
				t.Errorf("%s, %s has %d packages and %d machines, want %v", when, host, packages, machines, n)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, at)
	}
	defer db.Close()
}

func twoServersShareOneDatabase(t *testing.T, place Place) {
	at := place(t)
	a, b := open(t, at), open(t, at)
	defer a.Close()
	defer b.Close()
	var wg sync.WaitGroup
	for i, db := range []*inventory.DB{a, b} {
		wg.Go(func() {
			for j := range 20 {
				_, err := db.Register(t.Context(), registration(fmt.Sprintf("h%d-%d", i, j), "s"), anyway)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := b.Secret(t.Context(), "h0-19"); err != nil {
		t.Error(err)
	}
}

func whatWasServedLastOfAFleetIsRemembered(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	if !db.Created() {
		t.Error("it was not made")
	}
	for _, version := range []int64{7, 9} {
		s := inventory.Served{Anchor: sum("ours"), Timestamp: version, File: fmt.Append(nil, version), At: t0}
		if err := db.Serve(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	later := inventory.Served{Anchor: sum("another's"), Timestamp: 2, File: []byte("x"), At: t0.Add(time.Hour)}
	if err := db.Serve(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	for anchor, want := range map[schema.Digest]inventory.Served{
		sum("ours"):     {Anchor: sum("ours"), Timestamp: 9, File: []byte("9"), At: t0},
		sum("nobody's"): {}, {}: later,
	} {
		if got, err := db.Served(t.Context(), anchor); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func theMachinesOfAHostAreKeptTheLastFirstAndNotWithoutEnd(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	at := t0
	meet := func(host, id string) []inventory.Machine {
		t.Helper()
		at = at.Add(time.Second)
		before, err := db.Meet(t.Context(), host, inventory.Machine{ID: id, Last: at, Address: "192.0.2.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		return before
	}
	if before := meet("web01", "a"); len(before) != 0 {
		t.Errorf("%+v", before)
	}
	meet("web02", "z")
	meet("web01", "b")
	meet("web01", "a")
	before := meet("web01", "a")
	if len(before) != 2 || before[0].ID != "a" || before[1].ID != "b" || !before[0].First.Equal(t0.Add(time.Second)) ||
		!before[0].Last.Equal(at.Add(-time.Second)) || before[1].Address != "192.0.2.1:1" {
		t.Errorf("%+v", before)
	}
	for i := range 2 * inventory.MaxMachines {
		meet("web01", fmt.Sprint(i))
	}
	before = meet("web01", "last")
	if len(before) != inventory.MaxMachines || before[0].ID != fmt.Sprint(2*inventory.MaxMachines-1) {
		t.Errorf("%+v", before)
	}
	if _, err := db.Register(t.Context(), registration("web01", "s"), anyway); err != nil {
		t.Fatal(err)
	}
	if before := meet("web01", "a"); len(before) != 0 {
		t.Errorf("after another registration: %+v", before)
	}
}
