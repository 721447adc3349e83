package inventory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func openAt(t *testing.T, file string) *DB {
	t.Helper()
	db, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func sum(s string) schema.Digest { return schema.DigestOf([]byte(s)) }

func registration(host, secret string) Registration {
	return Registration{Host: host, Secret: sum(secret), User: "installer",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Agent: "1.0", At: t0}
}

func TestARegistrationAndTheLastReportSurviveARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "odd name?#%.db")
	db := openAt(t, file)
	if _, err := db.Register(t.Context(), registration("web01", "s3cret"), Claim{Replace: true}); err != nil {
		t.Fatal(err)
	}
	seen := Seen{At: t0.Add(time.Hour), Timestamp: 7, Root: 2, Report: schema.Report{State: schema.StateCurrent, Installed: sum("pkg"), LastCheck: t0}}
	if err := db.Report("web01", Seen{At: t0}); err != nil {
		t.Fatal(err)
	}
	if err := db.Report("web01", seen); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = openAt(t, file)
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
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
}

func TestAReportWithoutDetailsKeepsThoseBeforeQueuedOrWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "i.db")
	db := openAt(t, file)
	if _, err := db.Register(t.Context(), registration("web01", "s"), Claim{Replace: true}); err != nil {
		t.Fatal(err)
	}
	version := int64(0)
	report := func(d *schema.Details) {
		t.Helper()
		version++
		if err := db.Report("web01", Seen{At: t0, Timestamp: version, Report: schema.Report{Details: d}}); err != nil {
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
		db = openAt(t, file)
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

func TestReRegistrationReplacesTheSecretAndKeepsTheReport(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "i.db"))
	defer db.Close()
	if _, err := db.Secret(t.Context(), "web01"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("unknown host: %v", err)
	}
	for _, secret := range []string{"one", "two"} {
		if _, err := db.Register(t.Context(), registration("web01", secret), Claim{Replace: true}); err != nil {
			t.Fatal(err)
		}
		if err := db.Report("web01", Seen{At: t0, Timestamp: 3}); err != nil {
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

func TestAHostSeesItsOwnReportAtOnceWhileOthersWrite(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "i.db"))
	defer db.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			host := fmt.Sprintf("web%02d", i)
			if _, err := db.Register(t.Context(), registration(host, host), Claim{Replace: true}); err != nil {
				t.Error(err)
			}
			for v := int64(1); v <= 30; v++ {
				if err := db.Report(host, Seen{At: t0, Timestamp: v}); err != nil {
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

func TestOnlyTheLastPackagesOfAHostAreRemembered(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "i.db"))
	defer db.Close()
	var want []Package
	for i := range MaxPackages + 3 {
		p := Package{SHA256: sum(fmt.Sprint("p", i)), Manifest: sum(fmt.Sprint("m", i))}
		want = append(want, p)
		if err := db.Remember(t.Context(), "web01", p, t0.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
		if i == 2 { // the very first is seen again, so it outlives the second
			if err := db.Remember(t.Context(), "web01", want[0], t0.Add(24*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := want[0]
	want = want[len(want)-MaxPackages+1:]
	slices.Reverse(want)
	want = append([]Package{first}, want...)
	got, err := db.Packages(t.Context(), "web01")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if other, err := db.Packages(t.Context(), "web02"); err != nil || len(other) != 0 {
		t.Errorf("another host's: %v, %v", other, err)
	}
}

func TestTwoProcessesShareOneFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "i.db")
	a, b := openAt(t, file), openAt(t, file)
	defer a.Close()
	defer b.Close()
	var wg sync.WaitGroup
	for i, db := range []*DB{a, b} {
		wg.Go(func() {
			for j := range 20 {
				_, err := db.Register(t.Context(), registration(fmt.Sprintf("h%d-%d", i, j), "s"), Claim{Replace: true})
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

func TestAnUnusableFileIsOneErrorWithAHint(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	db := openAt(t, newer)
	if _, err := db.write.ExecContext(context.Background(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		garbage:                          "not a database",
		newer:                            "another bakehouse",
		filepath.Join(dir, "no", "i.db"): "no such file",
		dir:                              "is a directory",
	} {
		db, err := Open(t.Context(), file)
		if err == nil {
			db.Close()
			t.Errorf("%s was opened", file)
			continue
		}
		if !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%s: error %q, hint %q", file, err, fault.HintOf(err))
		}
	}
}

func BenchmarkSecretThenReport(b *testing.B) {
	db, err := Open(b.Context(), filepath.Join(b.TempDir(), "i.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for i := range 1000 {
		if _, err := db.Register(b.Context(), registration(fmt.Sprint("h", i), "s"), Claim{Replace: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			host := fmt.Sprint("h", i%1000)
			if _, err := db.Secret(b.Context(), host); err != nil {
				b.Error(err)
			}
			if err := db.Report(host, Seen{At: t0, Timestamp: int64(i)}); err != nil {
				b.Error(err)
			}
		}
	})
}

func TestARegistrationThatAHostPollsWithIsReplacedOnlyOnDemand(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "i.db"))
	defer db.Close()
	register := func(secret string, replace bool, want error) *Host {
		t.Helper()
		before, err := db.Register(t.Context(), registration("web01", secret), Claim{Replace: replace})
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
	polled := Seen{At: t0.Add(time.Hour), Address: "192.0.2.7:4711"}
	if err := db.Report("web01", polled); err != nil {
		t.Fatal(err)
	}
	for _, replace := range []bool{false, true} {
		want := ErrLive
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

func TestWhatWasServedLastOfAFleetIsRemembered(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "i.db"))
	defer db.Close()
	if !db.Created() {
		t.Error("it was not made")
	}
	for _, version := range []int64{7, 9} {
		s := Served{Anchor: sum("ours"), Timestamp: version, File: fmt.Append(nil, version), At: t0}
		if err := db.Serve(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	later := Served{Anchor: sum("another's"), Timestamp: 2, File: []byte("x"), At: t0.Add(time.Hour)}
	if err := db.Serve(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	for anchor, want := range map[schema.Digest]Served{
		sum("ours"):     {Anchor: sum("ours"), Timestamp: 9, File: []byte("9"), At: t0},
		sum("nobody's"): {}, {}: later,
	} {
		if got, err := db.Served(t.Context(), anchor); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
