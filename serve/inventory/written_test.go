package inventory_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/inventory"
	"bakehouse/serve/inventory/inventorytest"
)

// written is how many bytes this process has given to the system to write.
func written(t testing.TB) (n int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		needs.Missing(t, "%v", err)
	}
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n
		}
	}
	return 0
}

// Minutes of a fleet in which nothing happens: each host polls once in each.
func TestAPollWithoutNewsWritesLessThanAKilobyte(t *testing.T) {
	const hosts, minutes = 250, 22 // times are folded once
	db, err := inventory.Open(t.Context(), inventorytest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	var all []inventory.Entry
	for i := range hosts {
		all = append(all, inventory.Entry{Host: &inventory.Host{Registration: inventory.Registration{At: at,
			Host: fmt.Sprintf("web%05d.example", i), Secret: schema.DigestOf([]byte{1}),
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}}}})
	}
	if _, err := db.Import(t.Context(), all, false); err != nil {
		t.Fatal(err)
	}
	minute := func() {
		at = at.Add(time.Minute)
		for i, e := range all {
			seen := at.Add(time.Duration(i*7919%60) * time.Second)
			err := db.Report(e.Host.Host, inventory.Seen{At: seen, Address: fmt.Sprint("192.0.2.7:", seen.Unix()%60000),
				Report: schema.Report{State: schema.StateCurrent, LastCheck: seen, NextCheck: seen.Add(time.Minute)}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.FlushPolled(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	minute() // their first reports
	before := written(t)
	for range minutes {
		minute()
	}
	per := (written(t) - before) / (hosts * minutes)
	t.Logf("%d bytes for each poll", per)
	if per > 1000 {
		t.Errorf("%d bytes are written for a poll without news", per)
	}
}
