package inventory

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func TestTheMachinesOfAHostAreKeptTheLastFirstAndNotWithoutEnd(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "i.db"))
	defer db.Close()
	at := t0
	meet := func(host, id string) []Machine {
		t.Helper()
		at = at.Add(time.Second)
		before, err := db.Meet(t.Context(), host, Machine{ID: id, Last: at, Address: "192.0.2.1:1"})
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
	for i := range 2 * MaxMachines {
		meet("web01", fmt.Sprint(i))
	}
	if before := meet("web01", "last"); len(before) != MaxMachines || before[0].ID != fmt.Sprint(2*MaxMachines-1) {
		t.Errorf("%+v", before)
	}
	if _, err := db.Register(t.Context(), registration("web01", "s"), Claim{Replace: true}); err != nil {
		t.Fatal(err)
	}
	if before := meet("web01", "a"); len(before) != 0 {
		t.Errorf("after another registration: %+v", before)
	}
}

func TestAnInventoryFromBeforeMachinesWereNotedIsReadOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "i.db")
	db := openAt(t, file)
	if _, err := db.Register(t.Context(), registration("web01", "s"), Claim{Replace: true}); err != nil {
		t.Fatal(err)
	}
	_, err := db.write.ExecContext(context.Background(), `DROP TABLE machines; DROP TABLE tokens; DROP TABLE audit;
		ALTER TABLE hosts DROP COLUMN token; ALTER TABLE hosts DROP COLUMN ended; ALTER TABLE hosts DROP COLUMN ended_by;
		ALTER TABLE hosts DROP COLUMN ended_at; PRAGMA user_version = 2`)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		db = openAt(t, file)
		if secret, err := db.Secret(t.Context(), "web01"); err != nil || secret != sum("s") || db.Created() {
			t.Errorf("%v, %v", secret, err)
		}
		if _, err := db.Meet(t.Context(), "web01", Machine{ID: "a", Last: t0}); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
