package inventorytest

import (
	"path/filepath"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
)

// A Place makes an empty database for a test and returns its location for inventory.Open.
type Place func(t testing.TB) string

// SQLite is a place in the test's directory.
func SQLite(t testing.TB) string { return filepath.Join(t.TempDir(), "odd name?#%.db") }

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t testing.TB, location string) *inventory.DB {
	t.Helper()
	db, err := inventory.Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func sum(s string) schema.Digest { return schema.DigestOf([]byte(s)) }

// anyway is a claim that replaces whatever is registered.
var anyway = inventory.Claim{Replace: true}

func registration(host, secret string) inventory.Registration {
	return inventory.Registration{Host: host, Secret: sum(secret), User: "installer",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Agent: "1.0", At: t0}
}
