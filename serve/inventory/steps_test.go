package inventory

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory/sqldb"
	"bakehouse/serve/inventory/sqlite"
)

func TestAnInventoryFromBeforeAStepIsReadOn(t *testing.T) {
	secret := schema.DigestOf([]byte("s"))
	for i := range steps[1:] {
		file := filepath.Join(t.TempDir(), "i.db")
		old, err := sqlite.Open(t.Context(), file, steps[:i+1])
		if err != nil {
			t.Fatal(err)
		}
		err = old.Write(t.Context(), func(tx sqldb.Tx) error {
			return tx.Exec(t.Context(), `INSERT INTO hosts (name, secret, "user", platform, agent, registered)
				VALUES ('web01', $1, 'me', 'linux/amd64', '1', 7)`, secret[:])
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			db, err := Open(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := db.Secret(t.Context(), "web01"); err != nil || got != secret || db.Created() {
				t.Errorf("from version %d: %v, %v", steps[i].To, got, err)
			}
			if _, err := db.Meet(t.Context(), "web01", Machine{ID: "a", Last: time.Unix(7, 0)}); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAnUnusableFileIsOneErrorWithAHint(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	db, err := sqlite.Open(context.Background(), newer, sqldb.Steps{{From: 0, To: 99, Statements: tables}})
	if err != nil {
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
