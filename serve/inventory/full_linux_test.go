package inventory_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/inventory"
)

func TestAFullDiskLosesNothingThatWasAcknowledgedAndIsOverWhenThereIsRoom(t *testing.T) {
	needs.All(t, "mounts a file system")
	needs.Root(t, "mounting")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	db, err := inventory.Open(t.Context(), filepath.Join(dir, "i.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	register := func(host, secret string) error {
		_, err := db.Register(t.Context(), inventory.Registration{Host: host, Secret: schema.DigestOf([]byte(secret)),
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}, At: time.Unix(1, 0)}, inventory.Claim{Replace: true})
		return err
	}
	is := func(secret string) {
		t.Helper()
		if got, err := db.Secret(t.Context(), "web01"); err != nil || got != schema.DigestOf([]byte(secret)) {
			t.Errorf("%s was acknowledged: %v", secret, err)
		}
	}
	if err := register("web01", "one"); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 8<<20), 0o600) // as far as it goes
	acknowledged := "one"
	for full := false; !full; { // there may be room in the log that is there
		err := register("web01", acknowledged+"+")
		if full = err != nil; !full {
			acknowledged += "+"
		}
	}
	is(acknowledged)
	report := inventory.Seen{At: time.Unix(7, 0), Report: schema.Report{State: schema.StateFailed}}
	if err := db.Report("web01", report); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(t.Context()); err == nil {
		t.Error("there was room after all")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(t.Context()); err != nil { // what could not be written is still queued
		t.Error(err)
	}
	is(acknowledged)
	if h, err := db.Host(t.Context(), "web01"); err != nil || h.Seen.Report.State != schema.StateFailed {
		t.Errorf("%+v, %v", h, err)
	}
	if err := register("web01", "two"); err != nil {
		t.Error(err)
	}
	is("two")
}
