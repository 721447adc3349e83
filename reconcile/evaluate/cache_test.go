package evaluate

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bakehouse/schema/fleet"
)

// told is all that can be seen of a fleet, or its problems.
func told(t *testing.T, f *Repo, err error) string {
	t.Helper()
	var ps fleet.Problems
	if errors.As(err, &ps) {
		return ps.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newCache(t *testing.T) *Cache {
	t.Helper()
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sameFromCache loads fsys into a new cache and out of it. Every test of Load goes through here.
func sameFromCache(t *testing.T, fsys fs.FS, want string) {
	t.Helper()
	c := newCache(t)
	for _, when := range []string{"filling the cache", "from the cache"} {
		f, err := c.Load(t.Context(), fsys)
		if got := told(t, f, err); got != want {
			t.Errorf("%s, Load yields\n%s\ninstead of\n%s", when, got, want)
		}
	}
}

// entries are the files of the cache that hold something.
func (c *Cache) entries(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(c.dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "trimmed" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestADamagedEntryOfTheCacheCountsAsAbsent(t *testing.T) {
	fsys := repo(map[string]string{"hosts/web/h.cue": "package web\nhosts: web02: {labels: a: \"b\", set: updater: interval: \"1h\"}\n"})
	f, err := Load(t.Context(), fsys)
	want := told(t, f, err)
	c := newCache(t)
	if _, err := c.Load(t.Context(), fsys); err != nil {
		t.Fatal(err)
	}
	names := c.entries(t)
	if len(names) < 4 {
		t.Fatalf("only %d entries for the top and three folders", len(names))
	}
	for name, damage := range map[string]func([]byte) []byte{
		"a flipped bit":  func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"cut short":      func(b []byte) []byte { return b[:len(b)-3] },
		"empty":          func([]byte) []byte { return nil },
		"bytes appended": func(b []byte) []byte { return append(b, 0) },
	} {
		for _, entry := range names {
			b, err := os.ReadFile(entry)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(entry, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := c.Load(t.Context(), fsys)
		if got := told(t, f, err); got != want {
			t.Errorf("%s: Load yields\n%s\ninstead of\n%s", name, got, want)
		}
	}
}

func TestAChangedFileIsNotTakenFromTheCache(t *testing.T) {
	c := newCache(t)
	for _, label := range []string{"one", "two", "one"} {
		f, err := c.Load(t.Context(), repo(map[string]string{"hosts/web/h.cue": "package web\nhosts: web02: labels: a: \"" + label + "\"\n"}))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Hosts[1].Labels["a"]; got != label {
			t.Errorf("the label is %s, the file says %s", got, label)
		}
	}
}

func TestAFileMovedToAnotherFolderIsNotTakenFromTheCache(t *testing.T) {
	c := newCache(t)
	for _, folder := range []string{"web", "db"} {
		f, err := c.Load(t.Context(), repo(map[string]string{"hosts/" + folder + "/h.cue": "package hosts1\nhosts: web02: {}\n"}))
		if err != nil {
			t.Fatal(err)
		}
		if h := f.Hosts[1]; h.Folder.Path != folder || h.Pos.File != "hosts/"+folder+"/h.cue" {
			t.Errorf("the host is in %q at %s", h.Folder.Path, h.Pos)
		}
	}
}

func TestWhatDoesNotEvaluateIsNotKept(t *testing.T) {
	c := newCache(t)
	if _, err := c.Load(t.Context(), repo(map[string]string{"hosts/web/h.cue": "package web\nhosts: web02: labels: a: 1 & 2\n"})); err == nil {
		t.Fatal("a conflict loads")
	}
	// The top and the two folders that every repo of these tests has.
	if n := len(c.entries(t)); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

func TestACacheThatOthersCanWriteToIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCache(dir); err == nil {
		t.Error("a folder that everybody can write to is taken for a cache")
	}
}

func TestEntriesOfNoUseForDaysAreRemoved(t *testing.T) {
	c := newCache(t)
	if _, err := c.Load(t.Context(), repo(nil)); err != nil {
		t.Fatal(err)
	}
	names := c.entries(t)
	now := time.Now()
	for i, age := range []time.Duration{keptFor - time.Hour, keptFor + time.Hour} {
		if err := os.Chtimes(names[i], now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	c.trim(now)
	if len(c.entries(t)) != len(names) {
		t.Error("entries are removed more than once a day")
	}
	c.trim(now.Add(25 * time.Hour))
	left := c.entries(t)
	if slices.Contains(left, names[1]) {
		t.Error("an entry that nothing asked for stays")
	}
}

func FuzzUnpack(f *testing.F) {
	c := newFuzzDir(f)
	f.Add(c)
	f.Add("")
	f.Fuzz(func(t *testing.T, packed string) {
		d, n, err := unpack("hosts", packed)
		if err != nil {
			return
		}
		// What unpacks is a value like any other: it can be looked at, and packed again.
		again := pack(d, n)
		e, m, err := unpack("hosts", string(again))
		if err != nil {
			t.Fatalf("packed again, it does not unpack: %v", err)
		}
		if !bytes.Equal(again, pack(e, m)) {
			t.Error("packing is not stable")
		}
	})
}

// newFuzzDir is a packed directory.
func newFuzzDir(f *testing.F) string {
	fsys := repo(map[string]string{"hosts/hosts.cue": "package hosts\nhosts: {a: {labels: x: \"y\", address: \"10.0.0.1\"}, b: {tags: {}, was: [\"c\"]}}\n"})
	entries, err := fs.ReadDir(fsys, "hosts")
	if err != nil {
		f.Fatal(err)
	}
	j := &job{path: "hosts", entries: entries, definition: "#Folder"}
	j.run(f.Context(), fsys, defaultLimits, nil)
	if j.node == nil {
		f.Fatal(j.ps)
	}
	return string(pack(j.dir, j.node))
}
