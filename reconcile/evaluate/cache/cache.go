// Package cache keeps what was worked out, for later runs of the same program.
//
// An entry is named by its key: a hash of all that the entry follows from, the program itself among it. The entry
// holds a hash of its key and its bytes, so that one that is damaged, or that belongs to another key, counts as
// absent. Beyond that entries are believed: who can write to the directory decides what is signed. So it must be the
// user's own and closed to others, and must not be part of a config repo.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Cache is a directory of entries, or what this process keeps. A nil *Cache keeps nothing.
type Cache struct {
	dir string

	mu   sync.Mutex
	held map[string]string // by key, of one without a directory
}

// InMemory is a cache that ends with the process: for one that evaluates a few commits, most of whose files are equal.
func InMemory() *Cache { return &Cache{held: map[string]string{}} }

// Kept is a directory beside the entries for what is not worked out but remembered, and is not removed for its age;
// empty if the cache has no directory. It need not exist.
func (c *Cache) Kept() string {
	if c == nil || c.dir == "" {
		return ""
	}
	return filepath.Join(c.dir, keptDir)
}

const keptDir = "kept"

// keptFor is how long an entry stays that nothing asks for.
const keptFor = 5 * 24 * time.Hour

// Open makes the directory if need be, and removes entries from it that were of no use for days.
func Open(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	c := &Cache{dir: dir}
	c.trim(time.Now())
	return c, nil
}

// tool is a digest of this program, or what no other run has if it cannot be read.
var tool = sync.OnceValue(func() string {
	h := sha256.New()
	name, err := os.Executable()
	if err == nil {
		var f *os.File
		if f, err = os.Open(name); err == nil {
			defer f.Close()
			_, err = io.Copy(h, f)
		}
	}
	if err != nil {
		return fmt.Sprintf("%d %s", os.Getpid(), time.Now())
	}
	return hex.EncodeToString(h.Sum(nil))
})

// key names what follows from the program and the parts.
func key(kind string, parts []string) string {
	h := sha256.New()
	for _, part := range append([]string{tool(), kind}, parts...) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *Cache) file(key string) string { return filepath.Join(c.dir, key[:2], key) }

// seal binds an entry's bytes to its key.
func seal(key string, value []byte) []byte {
	h := sha256.New()
	h.Write([]byte(key)) // always as long
	h.Write(value)
	return h.Sum(nil)
}

// Find returns what Keep was given under the same name by this very program. It is false if there is nothing, or
// something else.
func (c *Cache) Find(kind string, parts ...string) (string, bool) {
	if c == nil {
		return "", false
	}
	key := key(kind, parts)
	if c.held != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		value, ok := c.held[key]
		return value, ok
	}
	name := c.file(key)
	b, err := os.ReadFile(name)
	if err != nil || len(b) < sha256.Size || string(seal(key, b[sha256.Size:])) != string(b[:sha256.Size]) {
		return "", false
	}
	if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > time.Hour {
		now := time.Now()
		_ = os.Chtimes(name, now, now) // of use; at worst it is removed early
	}
	return string(b[sha256.Size:]), true
}

// Keep keeps a value under a name of several parts. That it could not is no error: the next run works it out again.
func (c *Cache) Keep(value []byte, kind string, parts ...string) {
	if c == nil {
		return
	}
	key := key(kind, parts)
	if c.held != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.held[key] = string(value)
		return
	}
	name := c.file(key)
	_ = os.MkdirAll(filepath.Dir(name), 0o700)
	f, err := os.CreateTemp(filepath.Dir(name), "new-")
	if err != nil {
		return
	}
	_, err = f.Write(append(seal(key, value), value...))
	if err = errors.Join(err, f.Close()); err == nil {
		// Not flushed to the disk: what a crash leaves incomplete is found out by its hash.
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

// trim removes what was of no use for days, at most once a day.
func (c *Cache) trim(now time.Time) {
	stamp := filepath.Join(c.dir, "trimmed")
	if info, err := os.Stat(stamp); err == nil && now.Sub(info.ModTime()) < 24*time.Hour {
		return
	}
	if err := os.WriteFile(stamp, nil, 0o600); err != nil {
		return
	}
	_ = os.Chtimes(stamp, now, now)
	_ = filepath.WalkDir(c.dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && name == c.Kept() {
			return fs.SkipDir
		}
		if err != nil || e.IsDir() || name == stamp {
			return nil
		}
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > keptFor {
			_ = os.Remove(name)
		}
		return nil
	})
}
