package trust

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/kept"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
)

// damage replaces a state file by what how makes of it; nil removes it.
func damage(t *testing.T, dir, name string, how func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if how == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, how(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var corruptions = map[string]func([]byte) []byte{
	"missing":                   nil,
	"empty":                     func([]byte) []byte { return nil },
	"truncated":                 func(b []byte) []byte { return b[:len(b)/2] },
	"zeroed":                    func(b []byte) []byte { return make([]byte, len(b)) },
	"bit-flipped at the start":  flipped(0, 8),
	"bit-flipped in a quarter":  flipped(2, 8),
	"bit-flipped in the middle": flipped(4, 8),
	"bit-flipped in two thirds": flipped(5, 8),
	"bit-flipped near the end":  flipped(7, 8),
	"bit-flipped at the end":    func(b []byte) []byte { b = slices.Clone(b); b[len(b)-1] ^= 4; return b },
	"oversize":                  func(b []byte) []byte { return append(slices.Clone(b), make([]byte, 9<<20)...) },
	"a file of an older state": func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(`"version":2`), []byte(`"version":1`))
	},
}

// flipped changes one bit, so many eighths into the file.
func flipped(n, of int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = slices.Clone(b)
		b[len(b)*n/of] ^= 4
		return b
	}
}

// foundAs is the file of that kind in another state directory, whatever version or hash its name has there.
func foundAs(t *testing.T, name, dir string) []byte {
	t.Helper()
	kind := func(name string) string {
		if m := kept.Versioned.FindStringSubmatch(name); m != nil {
			return m[2]
		}
		if strings.HasSuffix(name, policySuffix) {
			return policySuffix
		}
		return name
	}
	for _, other := range stateFiles(t, dir) {
		if kind(other) == kind(name) {
			b, err := os.ReadFile(filepath.Join(dir, other))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("%s has nothing like %s", dir, name)
	return nil
}

func stateFiles(t *testing.T, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

// Each state file x each corruption: the host comes up, updates, and takes nothing older than what it has seen.
func TestHealingMatrix(t *testing.T) {
	r, base, earlier, old := healed(t)
	names := stateFiles(t, base)
	if len(names) != 9 { // 2 roots, 2 marks, timestamp, snapshot, targets, policy, bin
		t.Fatalf("state files: %q", names)
	}
	_, foreign, _, _ := healed(t)
	for i, name := range names {
		if i%needs.Every(1) != 0 {
			continue
		}
		how := maps.Clone(corruptions)
		for whose, dir := range map[string]string{"another fleet's": foreign, "an older valid one": earlier} {
			how[whose] = func([]byte) []byte { return foundAs(t, name, dir) }
		}
		for how, f := range how {
			t.Run(name+" "+how, func(t *testing.T) {
				dir := copied(t, base)
				damage(t, dir, name, f)
				r.t = t
				if v, _ := r.open(dir).Versions(); v != 2 {
					t.Errorf("root version %d on coming up", v)
				}
				honest := r.Files[timestampFile]
				r.Files[timestampFile] = old
				if _, err := r.update(dir, "web01"); !fault.IsRefusal(err) {
					t.Errorf("an older state was taken: %v", err)
				}
				r.Files[timestampFile] = honest
				r.mustUpdate(dir, "web01", "web01 second")
				whole(t, r, dir)
			})
		}
	}
}

// The same for a Repository, whose files have no versions in their names.
func TestHealingMatrixOfARepository(t *testing.T) {
	d := newDevice(t)
	d.delegates(edge{from: "targets", to: "A"})
	d.r.Add("A", "file", "content")
	d.r.PublishAll("A")
	d.must(d.download("file"))
	old := d.r.Latest(metadata.TIMESTAMP)
	earlier := copied(t, d.dir)
	d.r.Publish(metadata.ROOT)
	d.r.PublishAll("A", metadata.TARGETS)
	d.must(d.download("file"))
	honest, base := d.r.Latest(metadata.TIMESTAMP), d.dir
	names := stateFiles(t, base)
	if len(names) != 8 { // 2 roots, 2 marks, timestamp, snapshot, targets, A
		t.Fatalf("state files: %q", names)
	}
	for i, name := range names {
		if i%needs.Every(1) != 0 {
			continue
		}
		how := maps.Clone(corruptions)
		how["an older valid one"] = func([]byte) []byte { return foundAs(t, name, earlier) }
		for how, f := range how {
			t.Run(name+" "+how, func(t *testing.T) {
				d.t, d.dir = t, copied(t, base)
				damage(t, d.dir, name, f)
				d.r.Bend(metadata.TIMESTAMP, func([]byte) []byte { return old })
				if err := d.refresh(); !fault.IsRefusal(err) {
					t.Errorf("an older state was taken: %v", err)
				}
				d.r.Bend(metadata.TIMESTAMP, func([]byte) []byte { return honest })
				d.must(d.download("file"))
				d.trusts("A 3", "root 2", "snapshot 4", "targets 3", "timestamp 4")
				for _, name := range names {
					got, want := (&dir{Path: d.dir}).Read(name, 1<<20), (&dir{Path: base}).Read(name, 1<<20)
					if !strings.HasPrefix(name, "marks") && !bytes.Equal(got, want) {
						t.Errorf("%s is not what it was", name)
					}
				}
			})
		}
	}
}

// What no server can mend says what the owner of the host has to do.
func TestUnhealableStateSaysHowToEnrolAgain(t *testing.T) {
	r, dir, _, _ := healed(t)
	other := newRepo(t)
	other.rotate("root")
	other.rotate("root")
	r.Files["3.root.json"] = other.Files["3.root.json"]
	_, err := r.update(dir, "web01")
	refused(t, err, "not enough signatures")
	if h := fault.HintOf(err); !strings.Contains(h, "install its package here manually and register again") {
		t.Errorf("hint: %s", h)
	}
	_, err = open(dir, []byte("garbage"), r.clock, unsynced)
	if h := fault.HintOf(err); !strings.Contains(h, "install a package of this fleet again") {
		t.Errorf("hint: %s", h)
	}
}

// copied is a state directory of its own with the same files.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// healed is a host at root 2 and timestamp 4, its state before, and the timestamp 3 of that root: signed, unexpired, older.
func healed(t *testing.T) (r *repo, dir, earlier string, old []byte) {
	t.Helper()
	r, dir, _ = seen(t)
	earlier = copied(t, dir)
	r.rotate("root")
	r.Release()
	old = r.Files[timestampFile]
	r.Release()
	r.mustUpdate(dir, "web01", "web01 second")
	return r, dir, earlier, old
}

// whole checks that the directory holds exactly one good state, readable without a source.
func whole(t *testing.T, r *repo, dir string) {
	t.Helper()
	if names := stateFiles(t, dir); len(names) != 9 {
		t.Errorf("state files: %q", names)
	}
	for _, name := range []string{rootFile, kept.MarksFile} {
		a, err1 := os.ReadFile(filepath.Join(dir, name))
		b, err2 := os.ReadFile(filepath.Join(dir, kept.CopyOf(name)))
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("the copies of %s differ: %v, %v", name, err1, err2)
		}
	}
	c := r.open(dir)
	if root, stamp := c.Versions(); root != 2 || stamp != r.Timestamp.Signed.Version {
		t.Errorf("root %d, timestamp %d after healing", root, stamp)
	}
}

func TestBothMarksLostAreReadOffTheMetadata(t *testing.T) {
	r, dir, _, old := healed(t)
	damage(t, dir, kept.MarksFile, nil)
	damage(t, dir, kept.CopyOf(kept.MarksFile), nil)
	r.Files[timestampFile] = old
	_, err := r.update(dir, "web01")
	refused(t, err, "timestamp metadata version 3 is older than version 4")
}

func TestEverythingLostStartsFromTheAnchor(t *testing.T) {
	r, dir, _, _ := healed(t)
	for _, name := range stateFiles(t, dir) {
		damage(t, dir, name, func([]byte) []byte { return []byte("garbage") })
	}
	r.mustUpdate(dir, "web01", "web01 second")
	whole(t, r, dir)
}

func TestStateDirectoryIsPrivate(t *testing.T) {
	r, dir := newRepo(t), filepath.Join(t.TempDir(), "trust")
	r.mustUpdate(dir, "web01", "web01 first")
	for _, name := range append(stateFiles(t, dir), ".") {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", name, fi.Mode())
		}
	}
}

func TestUnwritableStateIsAnErrorAndNotForgotten(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	c := r.open(dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	err := c.Refresh(t.Context(), r, nil)
	if err == nil || fault.HintOf(err) == "" || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Assignment(t.Context(), r, "web01"); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("it went on without remembering: %v", err)
	}
}

// The machine stops at each system call that changes the disk, in turn.
func TestCrashDuringRefreshLeavesOldOrNew(t *testing.T) {
	crash := errors.New("power cut")
	r, base, _ := seen(t)
	r.rotate("snapshot")
	r.assign("web01", "web01 third", 3)
	r.Release(r.Bin("web01"))
	for stop := 0; stop < 1000; stop += needs.Every(1) {
		dir := copied(t, base)
		calls := 0
		disk := durable.Disk{Around: func(c durable.Call, do func() error) error {
			if calls++; calls > stop {
				return crash
			}
			return unsynced.Around(c, do)
		}}
		c, err := open(dir, r.Anchor, r.clock, disk)
		if err == nil {
			if err = c.Refresh(t.Context(), r, nil); err == nil {
				_, err = c.Assignment(t.Context(), r, "web01")
			}
		}
		again := r.open(dir)
		if _, v := again.Versions(); v != 2 && v != 3 || again.Policy() == nil {
			// A root that drops the snapshot's key makes the state held of no use, whichever moment it comes.
			if root, _ := again.Versions(); root != 2 || v != 0 {
				t.Errorf("stopped at call %d: root %d, timestamp %d, policy %v", stop, root, v, again.Policy())
			}
		}
		r.mustUpdate(dir, "web01", "web01 third")
		if err == nil {
			if stop < 20 {
				t.Errorf("only %d calls were met", stop)
			}
			return
		}
		if !errors.Is(err, crash) {
			t.Fatalf("stopped at call %d: %v", stop, err)
		}
	}
	t.Error("the refresh never got through")
}

// A crash between the two copies of the marks leaves an older one beside a newer one.
func TestTheNewerOfTwoMarksCounts(t *testing.T) {
	for _, stale := range []string{kept.MarksFile, kept.CopyOf(kept.MarksFile)} {
		t.Run(stale, func(t *testing.T) {
			r, dir := newRepo(t), t.TempDir()
			r.mustUpdate(dir, "web01", "web01 first")
			first := r.Files[timestampFile]
			b, err := os.ReadFile(filepath.Join(dir, stale))
			if err != nil {
				t.Fatal(err)
			}
			r.Release()
			r.mustUpdate(dir, "web01", "web01 first")
			damage(t, dir, stale, func([]byte) []byte { return b })
			damage(t, dir, timestampFile, nil) // nor can the marks be read off the metadata
			r.Files[timestampFile] = first
			_, err = r.update(dir, "web01")
			refused(t, err, "is older than version 2")
		})
	}
}

func TestAnotherSnapshotUnderTheNameOfTheHeldOne(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	r.Timestamp.Signed.Meta[snapshotFile] = metadata.MetaFile(1) // no hash that would tell
	r.Seal("timestamp")
	r.mustUpdate(dir, "web01", "web01 first")
	honest := r.Files[timestampFile]
	r.Release("bin-0", "bin-1", "bin-2", "bin-3")
	r.Files[timestampFile] = honest
	damage(t, dir, "1.snapshot.json", func([]byte) []byte { return r.Files["2.snapshot.json"] })
	r.mustUpdate(dir, "web01", "web01 first")
}
