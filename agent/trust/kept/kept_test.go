package kept

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bakehouse/schema/durable"
	"bakehouse/schema/durable/durabletest"
)

func open(t *testing.T, disk durable.Disk) *Dir {
	t.Helper()
	d, err := Open(t.TempDir(), disk, false)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhatWaitsIsReadAsIfItWereThereAndIsThereAsAWhole(t *testing.T) {
	d := open(t, durable.Disk{})
	write := func(name, text string) {
		t.Helper()
		if err := d.Write(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	on := func(name string) string { b, _ := os.ReadFile(filepath.Join(d.Path, name)); return string(b) }
	write("1.snapshot.json", "one")
	write(TimestampFile, "old")
	d.Later()
	write("2.snapshot.json", "two")
	write(TimestampFile, "new")
	if err := d.Remove("1.snapshot.json"); err != nil {
		t.Fatal(err)
	}
	v, b := d.Held("snapshot", 9)
	names := d.Names()
	slices.Sort(names)
	if v != 2 || string(b) != "two" || !slices.Equal(names, []string{"2.snapshot.json", TimestampFile}) {
		t.Errorf("it has %d %q of %q", v, b, names)
	}
	if d.Read(TimestampFile, 2) != nil || string(d.Read(TimestampFile, 3)) != "new" {
		t.Error("what waits is not read like a file")
	}
	if err := d.Stage(); err != nil {
		t.Fatal(err)
	}
	write(TimestampFile, "newer") // after it was staged
	if on("1.snapshot.json") != "one" || on("2.snapshot.json") != "" || on(TimestampFile) != "old" {
		t.Error("the directory has something of it before Commit")
	}
	if err := d.Commit(true); err != nil {
		t.Fatal(err)
	}
	if on("1.snapshot.json") != "" || on("2.snapshot.json") != "two" || on(TimestampFile) != "newer" {
		t.Error("the directory has not all of it after Commit")
	}
	if left, _ := os.ReadDir(d.Path); len(left) != 2 {
		t.Errorf("it has %v", left)
	}
}

// Whatever call fails, or however the host dies: each file is old or new, and the timestamp, which goes last, is new
// only if all are.
func TestACrashDuringCommitLeavesATimestampOfWhatIsThere(t *testing.T) {
	change := func(d *Dir) error {
		d.Later()
		for _, name := range []string{"marks.json", "marks.copy.json", "2.snapshot.json", TimestampFile} {
			if err := d.Write(name, []byte("new "+name)); err != nil {
				return err
			}
		}
		if err := d.Remove("1.snapshot.json"); err != nil {
			return err
		}
		return d.Commit(false)
	}
	prepare := func(d *Dir) {
		for _, name := range []string{"marks.json", "marks.copy.json", "1.snapshot.json", TimestampFile} {
			if err := os.WriteFile(filepath.Join(d.Path, name), []byte("old "+name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	clean := &durabletest.Faults{At: -1}
	d := open(t, clean.Disk())
	prepare(d)
	first := len(clean.Calls())
	if err := change(d); err != nil {
		t.Fatal(err)
	}
	for at := first; at < len(clean.Calls()); at++ {
		for _, mode := range durabletest.Modes {
			faults := &durabletest.Faults{At: at, Mode: mode}
			d := open(t, faults.Disk())
			prepare(d)
			err := change(d)
			b, rerr := os.ReadFile(filepath.Join(d.Path, TimestampFile))
			switch string(b) {
			case "old " + TimestampFile:
				_, rerr = os.Stat(filepath.Join(d.Path, "1.snapshot.json"))
			case "new " + TimestampFile:
				_, rerr = os.Stat(filepath.Join(d.Path, "2.snapshot.json"))
			default:
				t.Errorf("%d %s: the timestamp is %q", at, mode, b)
			}
			if call, hit := faults.Hit(); !hit || rerr != nil {
				t.Errorf("%d %s (%v, hit %t): %v, %v", at, mode, call, hit, err, rerr)
			}
		}
	}
}
