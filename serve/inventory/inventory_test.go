package inventory_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/inventory"
	"bakehouse/serve/inventory/inventorytest"
)

func TestMain(m *testing.M) {
	needs.Memory()
	os.Exit(inventorytest.Main{M: m}.Run())
}

func TestSQLite(t *testing.T) { inventorytest.Run(t, inventorytest.SQLite) }

func TestPostgreSQL(t *testing.T) {
	needs.All(t, "starts PostgreSQL")
	inventorytest.Run(t, inventorytest.PostgreSQL)
}

func TestTheFileIsForItsOwnerOnly(t *testing.T) {
	file := inventorytest.SQLite(t)
	db, err := inventory.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if st, err := os.Stat(file + suffix); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", suffix, st.Mode(), err)
		}
	}
}

func BenchmarkSecretThenReport(b *testing.B) {
	db, err := inventory.Open(b.Context(), inventorytest.SQLite(b))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for i := range 1000 {
		r := inventory.Registration{Host: fmt.Sprint("h", i), Secret: schema.DigestOf(nil), At: time.Unix(1, 0)}
		if _, err := db.Register(b.Context(), r, inventory.Claim{}); err != nil {
			b.Fatal(err)
		}
	}
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			host := fmt.Sprint("h", i%1000)
			if _, err := db.Secret(b.Context(), host); err != nil {
				b.Error(err)
			}
			if err := db.Report(host, inventory.Seen{At: time.Unix(1, 0), Timestamp: int64(i)}); err != nil {
				b.Error(err)
			}
		}
	})
}
