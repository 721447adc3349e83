package cache

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func open(t *testing.T) *Cache {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// entries are the files that hold something.
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

func TestAnEntryIsFoundUnderItsNameOnly(t *testing.T) {
	c := open(t)
	c.Keep([]byte("value"), "kind", "a", "bc")
	for _, other := range [][]string{{"kind", "ab", "c"}, {"kind", "a"}, {"kind", "a", "bc", ""}, {"kin", "a", "bc"}} {
		if got, ok := c.Find(other[0], other[1:]...); ok {
			t.Errorf("%q holds %q", other, got)
		}
	}
	if got, ok := c.Find("kind", "a", "bc"); !ok || got != "value" {
		t.Errorf("got %q, %v", got, ok)
	}
	var none *Cache
	none.Keep([]byte("value"), "kind")
	if _, ok := none.Find("kind"); ok {
		t.Error("what does not exist holds something")
	}
}

func TestAnEntryThatBelongsToAnotherKeyIsNotBelieved(t *testing.T) {
	c := open(t)
	c.Keep([]byte("what the files say"), "kind", "victim")
	c.Keep([]byte("what somebody wants"), "kind", "other")
	victim, other := c.file(key("kind", []string{"victim"})), c.file(key("kind", []string{"other"}))
	forged, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	value := forged[sha256.Size:]
	sum := sha256.Sum256(value)
	sealed, err := os.ReadFile(victim)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{
		"a whole entry in another's place":   forged,
		"a value with the digest of it":      append(sum[:], value...),
		"a value with the seal of another's": append(sealed[:sha256.Size:sha256.Size], value...),
	} {
		if err := os.WriteFile(victim, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Find("kind", "victim"); ok {
			t.Errorf("%s is believed: %q", what, got)
		}
	}
}

func TestACacheThatOthersCanWriteToIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a directory that everybody can write to is taken for a cache")
	}
}

func TestEntriesOfNoUseForDaysAreRemoved(t *testing.T) {
	c := open(t)
	for _, name := range []string{"a", "b", "c"} {
		c.Keep([]byte(name), "kind", name)
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
	if slices.Contains(left, names[1]) || !slices.Contains(left, names[2]) {
		t.Errorf("left are %q of %q", left, names)
	}
}

func TestACacheInMemoryKeepsForTheProcessAlone(t *testing.T) {
	c := InMemory()
	if _, ok := c.Find("kind", "a"); ok {
		t.Error("something is there before")
	}
	c.Keep([]byte("value"), "kind", "a")
	if got, ok := c.Find("kind", "a"); !ok || got != "value" {
		t.Errorf("got %q, %t", got, ok)
	}
	if _, ok := c.Find("kind", "b"); ok {
		t.Error("found under another name")
	}
	if _, ok := InMemory().Find("kind", "a"); ok {
		t.Error("another cache has it")
	}
}
