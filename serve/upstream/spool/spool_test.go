package spool

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/uplink"
)

func open(t *testing.T, file string, most int) *Spool {
	t.Helper()
	s, err := Open(t.Context(), file, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func said(host, text string, minute int, details *schema.Details) uplink.HostReport {
	at := noon.Add(time.Duration(minute) * time.Minute)
	return uplink.HostReport{Host: host, At: at, Address: fmt.Sprint("a:", minute),
		Report: schema.Report{State: schema.StateFailed, Error: text, Details: details, LastCheck: at}}
}

func addAll(t *testing.T, s *Spool, reports ...uplink.HostReport) {
	t.Helper()
	for _, r := range reports {
		if err := s.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// holds is what is in a spool, such as "web01=a web02=b+".
func holds(t *testing.T, s *Spool) string {
	t.Helper()
	list, err := s.Next(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, r := range list {
		word := r.Host + "=" + r.Report.Error
		if r.Report.Details != nil {
			word += "+"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestReportsAreKeptInOrderAndThoseThatAreTakenAreGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.db")
	s := open(t, file, 100)
	details := &schema.Details{Interval: 7}
	addAll(t, s, said("web01", "a", 1, details), said("web02", "b", 2, nil), said("web01", "c", 3, nil),
		said("web02", "b", 4, nil), said("web01", "c", 5, nil)) // the last two say nothing new
	want := "web01=a+ web02=b web01=c"
	if got := holds(t, s); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if st := s.Stat(); st.Reports != 3 || !st.Oldest.Equal(noon.Add(time.Minute)) || st.Superseded != 0 {
		t.Errorf("%+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, file, 100)
	list, err := s.Next(t.Context(), 1) // at least one
	if err != nil || len(list) != 1 || list[0].Report.Details.Interval != 7 {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := s.Done(t.Context(), list[0].Number); err != nil {
		t.Fatal(err)
	}
	if got := holds(t, s); got != "web02=b web01=c" {
		t.Errorf("after the first was taken: %s", got)
	}
	// What says the same while the one before is on its way is not lost with that.
	list, err = s.Next(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	addAll(t, s, said("web01", "c", 9, nil))
	if err := s.Done(t.Context(), list[len(list)-1].Number); err != nil {
		t.Fatal(err)
	}
	if got := holds(t, s); got != "web01=c" {
		t.Errorf("%s", got)
	}
}

func TestAFullSpoolKeepsTheNewestOfEachHostWithItsDetails(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "site.db"), 4)
	addAll(t, s, said("web01", "a", 1, &schema.Details{Interval: 7}), said("web02", "b", 2, nil),
		said("web01", "c", 3, nil), said("web01", "d", 4, nil))
	addAll(t, s, said("web01", "e", 5, nil))
	if got, want := holds(t, s), "web02=b web01=e"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if st := s.Stat(); st.Superseded != 3 || st.Reports != 2 {
		t.Errorf("%+v", st)
	}
	for i := range 9 { // more hosts than there is room for
		addAll(t, s, said(fmt.Sprint("db", i), "x", 6, nil))
	}
	if st := s.Stat(); st.Reports != 11 {
		t.Errorf("the newest of a host is lost: %+v", st)
	}
}

func TestManyWhoAddAtOnceAreAllKept(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "site.db"), 1000)
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			if err := s.Add(t.Context(), said(fmt.Sprint("web", i), "a", i, nil)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if st := s.Stat(); st.Reports != 50 {
		t.Errorf("%+v", st)
	}
}
