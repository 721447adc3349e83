package inventorytest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
)

func theLastChangesOfAHostAreKeptAndGoWithIt(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	change := func(host string, i int, state string) inventory.Past {
		return inventory.Past{Host: host, At: t0.Add(time.Duration(i) * time.Minute), State: state, Code: "c",
			Release: int64(i), Text: fmt.Sprint("text ", i)}
	}
	for i := range 30 {
		if err := db.AddPast(t.Context(), change("web01", i, "failed"), change("web02", i, "failed")); err != nil {
			t.Fatal(err)
		}
	}
	again := change("web01", 29, "failed")
	again.At = again.At.Add(time.Second)
	if err := db.AddPast(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	list, err := db.PastOf(t.Context(), "web01")
	if err != nil || len(list) != inventory.MaxPast || !reflect.DeepEqual(list[0], change("web01", 29, "failed")) ||
		list[19].Release != 10 {
		t.Errorf("%v: %d changes, %+v", err, len(list), list)
	}
	last, err := db.LastPast(t.Context())
	if err != nil || len(last) != 2 || last["web02"].Release != 29 || !last["web02"].At.Equal(t0.Add(29*time.Minute)) {
		t.Errorf("%v: %+v", err, last)
	}
	if _, err := db.Register(t.Context(), registration("web01", "s"), inventory.Claim{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Rename(t.Context(), "web01", "web03"); err != nil {
		t.Fatal(err)
	}
	moved, err := db.PastOf(t.Context(), "web03")
	if err != nil || len(moved) != inventory.MaxPast {
		t.Errorf("%v: %d changes of the renamed host", err, len(moved))
	}
	if err := db.Forget(t.Context(), "web03"); err != nil {
		t.Fatal(err)
	}
	if left, err := db.PastOf(t.Context(), "web03"); err != nil || len(left) != 0 {
		t.Errorf("%v: %d changes of a forgotten host", err, len(left))
	}
}

func countsOfHostsAreKeptForTwoWeeks(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	for day := range 20 {
		p := inventory.Point{At: t0.Add(time.Duration(day) * 24 * time.Hour), Release: 7, Hosts: day, Total: 100}
		for range 2 {
			if err := db.AddPoint(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := db.Points(t.Context())
	if err != nil || len(list) != 15 || list[0].Hosts != 5 || list[14] != (inventory.Point{
		At: t0.Add(19 * 24 * time.Hour), Release: 7, Hosts: 19, Total: 100}) {
		t.Errorf("%v: %+v", err, list)
	}
}

func allHostsAreListedWithTheirQueuedReports(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	for _, name := range []string{"b", "a", "c"} {
		if _, err := db.Register(t.Context(), registration(name, name), inventory.Claim{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Report("b", inventory.Seen{At: t0, Report: schema.Report{State: schema.StateNew}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for h, err := range db.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Host+" "+h.Seen.Report.State)
	}
	if !slices.Equal(got, []string{"a ", "b new", "c "}) {
		t.Errorf("%q", got)
	}
	if _, err := db.Meet(t.Context(), "a", inventory.Machine{ID: "m", Last: t0}); err != nil {
		t.Fatal(err)
	}
	if list, err := db.Machines(t.Context(), "a"); err != nil || len(list) != 1 || list[0].ID != "m" {
		t.Errorf("%v: %+v", err, list)
	}
}
