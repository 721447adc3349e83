package serve

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema"
)

const (
	alone   = "another machine uses a host's registration"
	byTurns = "two machines use one registration by turns"
)

// Both reported as the same host, and the inventory showed whichever came last.
func TestTwoMachinesWithOneRegistrationAreToldOfAndServedAllTheSame(t *testing.T) {
	f, _ := standardFleet(t)
	database := filepath.Join(t.TempDir(), "inventory.db")
	w := startWith(t, f, database, nil)
	c := w.register("web01")
	reports := func(machine string) {
		t.Helper()
		_, r := w.poll(c, schema.PollRequest{Report: schema.Report{State: schema.StateCurrent, Machine: machine}})
		if r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	told := func(first, second int) {
		t.Helper()
		log := w.log.String()
		if a, b := strings.Count(log, alone), strings.Count(log, byTurns); a != first || b != second {
			t.Errorf("told %d and %d times, want %d and %d", a, b, first, second)
		}
	}
	original, clone := "00000000000000aa", "00000000000000bb"
	reports("")
	reports(original)
	reports("")
	reports(original)
	reports("no id of a machine\n")
	told(0, 0)
	reports(clone)
	told(1, 0)
	reports(clone)
	told(1, 0)
	for range 3 { // an hour's worth is told once
		reports(original)
		reports(clone)
	}
	told(1, 1)

	// The next server knows it from the inventory.
	w.stop()
	w = startWith(t, f, database, nil)
	reports(clone)
	told(0, 0)
	reports(original)
	told(0, 1)

	c = w.register("web01")
	reports(clone)
	told(0, 1) // it was registered anew, on whatever machine
}
