package evaluate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"
)

// Cache keeps what directories of config repos evaluated to, for later runs of the same program. An entry is
// named by the hash of all that it follows from: the program itself, which holds the schema, and the files read. What did
// not evaluate without a complaint is not kept. A nil *Cache keeps nothing.
//
// Entries are believed as far as they are whole: a damaged one counts as absent, but who can write to the folder decides
// what is signed. So it must be the user's own and closed to others.
type Cache struct{ dir string }

// keptFor is how long an entry stays that nothing asks for.
const keptFor = 5 * 24 * time.Hour

// OpenCache makes the folder if need be, and removes entries from it that were of no use for days.
func OpenCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	c := &Cache{dir}
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
func (c *Cache) key(kind string, parts ...string) string {
	h := sha256.New()
	for _, part := range append([]string{tool(), kind}, parts...) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *Cache) file(key string) string { return filepath.Join(c.dir, key[:2], key) }

// get returns an entry; it is false if there is none or it is not whole.
func (c *Cache) get(key string) (string, bool) {
	name := c.file(key)
	b, err := os.ReadFile(name)
	if err != nil || len(b) < sha256.Size || sha256.Sum256(b[sha256.Size:]) != [sha256.Size]byte(b) {
		return "", false
	}
	if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > time.Hour {
		now := time.Now()
		_ = os.Chtimes(name, now, now) // of use; at worst it is removed early
	}
	return string(b[sha256.Size:]), true
}

// put keeps an entry. That it could not is no error: the next run works it out again.
func (c *Cache) put(key string, b []byte) {
	name := c.file(key)
	sum := sha256.Sum256(b)
	_ = os.MkdirAll(filepath.Dir(name), 0o700)
	f, err := os.CreateTemp(filepath.Dir(name), "new-")
	if err != nil {
		return
	}
	_, err = f.Write(append(sum[:], b...))
	if err = errors.Join(err, f.Close()); err == nil {
		// Not flushed to the disk: what a crash leaves incomplete is found out by its digest.
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
		if err != nil || e.IsDir() || name == stamp {
			return nil
		}
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > keptFor {
			_ = os.Remove(name)
		}
		return nil
	})
}

// Find returns what Keep was given under the same name by this very program.
func (c *Cache) Find(kind string, parts ...string) (string, bool) {
	return c.get(c.key(kind, parts...))
}

// Keep keeps a value under a name of several parts.
func (c *Cache) Keep(value []byte, kind string, parts ...string) { c.put(c.key(kind, parts...), value) }

// Hasher is a file system that knows a hash of a file's bytes without reading them.
type Hasher interface {
	HashOf(name string) (string, error)
}

// keyOf names the evaluation of a directory; it is false if it cannot be told.
func (c *Cache) keyOf(fsys fs.FS, j *job, l limits) (string, bool) {
	if c == nil {
		return "", false
	}
	parts := []string{j.path, j.definition}
	for _, e := range j.entries {
		if e.IsDir() || !isCUE(e.Name()) {
			continue
		}
		hash, err := hashOf(fsys, path.Join(j.path, e.Name()), l)
		if err != nil || !e.Type().IsRegular() {
			return "", false
		}
		parts = append(parts, e.Name(), hash)
	}
	return c.key("directory", parts...), len(parts) > 2
}

func hashOf(fsys fs.FS, name string, l limits) (string, error) {
	if h, ok := fsys.(Hasher); ok {
		return h.HashOf(name)
	}
	b, err := readFile(fsys, name, l.File)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
