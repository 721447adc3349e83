// Package shelf keeps verified objects in a directory, up to a bound of bytes: those that were not used for the longest
// go first, and what hosts are given now goes last.
//
// Nothing is believed because it is there. A segment is checked against its key when it is first read after a start,
// and each hour; any other object carries the digest of its bytes. What is altered is dropped, so that it is fetched
// again. What is put there is whole or not there: it is written beside and renamed. Only what Keep puts there
// survives a power cut for certain: all else can be fetched again.
package shelf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// Shelf is a directory of objects by their store keys. Make it with Open. It is safe for concurrent use.
type Shelf struct {
	dir   string
	limit int64
	live  func() map[string]bool // keys of what hosts are given now

	mu      sync.Mutex
	objects map[string]*object
	bytes   int64 // of what may go
}

type object struct {
	size    int64
	used    time.Time
	checked time.Time
}

// Open opens or makes a shelf for at most limit bytes. live names what goes last; it is asked when there is no room.
func Open(dir string, limit int64, live func() map[string]bool) (*Shelf, error) {
	s := &Shelf{dir: filepath.Join(dir, "objects"), limit: limit, live: live, objects: map[string]*object{}}
	if err := durable.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key := filepath.ToSlash(strings.TrimPrefix(path, s.dir+string(filepath.Separator)))
		info, err := d.Info()
		if err != nil {
			return err
		}
		if schema.CheckKey(key) != nil {
			return os.Remove(path) // a download that did not end
		}
		s.add(key, &object{size: info.Size(), used: info.ModTime()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cache %s: %w", dir, err)
	}
	return s, nil
}

// Expendable reports whether an object may go for want of room. What a release is read from stays until Drop.
func Expendable(key string) bool {
	for _, dir := range []string{schema.ManifestDir, schema.SegmentDir, schema.StatementDir} {
		if strings.HasPrefix(key, dir) {
			return true
		}
	}
	return false
}

// Named is the digest that a segment's key names: that of its bytes.
func Named(key string) (d schema.Digest, ok bool) {
	rest, is := strings.CutPrefix(key, schema.SegmentDir)
	if !is || len(rest) < 4 {
		return d, false
	}
	d, err := schema.ParseHex(rest[3:])
	return d, err == nil
}

func (s *Shelf) path(key string) string { return filepath.Join(s.dir, filepath.FromSlash(key)) }

// add is called with s.mu held, or before others have s.
func (s *Shelf) add(key string, o *object) {
	if old := s.objects[key]; old != nil && Expendable(key) {
		s.bytes -= old.size
	}
	s.objects[key] = o
	if Expendable(key) {
		s.bytes += o.size
	}
}

// Has reports whether an object is there. It does not count as use.
func (s *Shelf) Has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key] != nil
}

// Age is how long ago an object was put there or used; ok is false if it is not there.
func (s *Shelf) Age(key string) (d time.Duration, ok bool) {
	info, err := os.Stat(s.path(key))
	if err != nil || !s.Has(key) {
		return 0, false
	}
	return time.Since(info.ModTime()), true
}

// Stat is how much is there, in bytes, of what may go and of all, and how many objects.
func (s *Shelf) Stat() (bytes int64, objects int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.objects {
		bytes += o.size
	}
	return bytes, len(s.objects)
}

// Keys are those with a prefix, in order.
func (s *Shelf) Keys(prefix string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Drop removes objects.
func (s *Shelf) Drop(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		s.drop(key)
	}
}

func (s *Shelf) drop(key string) {
	o := s.objects[key]
	if o == nil {
		return
	}
	delete(s.objects, key)
	if Expendable(key) {
		s.bytes -= o.size
	}
	_ = os.Remove(s.path(key)) // if it stays, the next start finds it again, and drops it again
}

// Get reads an object whose key names no digest. It is fs.ErrNotExist also if it was altered.
func (s *Shelf) Get(key string) ([]byte, error) {
	if !s.touch(key) {
		return nil, fs.ErrNotExist
	}
	b, err := os.ReadFile(s.path(key))
	if err == nil && !sealed(b) {
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.Drop(key)
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return b[:len(b)-sha256.Size], nil
}

func sealed(b []byte) bool {
	n := len(b) - sha256.Size
	if n < 0 {
		return false
	}
	sum := sha256.Sum256(b[:n])
	return bytes.Equal(sum[:], b[n:])
}

// touch notes that an object is used. The time is on disk within an hour's error.
func (s *Shelf) touch(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	if o == nil {
		return false
	}
	if now := time.Now(); now.Sub(o.used) > time.Hour && Expendable(key) {
		_ = os.Chtimes(s.path(key), now, now) // a worse choice of what goes first
		o.used = now
	}
	return true
}

// Put keeps what Get reads.
func (s *Shelf) Put(key string, b []byte) error { return s.put(key, b, false) }

// Keep is Put that survives a power cut.
func (s *Shelf) Keep(key string, b []byte) error { return s.put(key, b, true) }

func (s *Shelf) put(key string, b []byte, keep bool) error {
	sum := sha256.Sum256(b)
	b = append(slices.Clip(b), sum[:]...)
	path := s.path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if keep {
		if err := durable.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	} else if err := s.write(path, b); err != nil {
		return err
	}
	s.placed(key, int64(len(b)))
	return nil
}

func (s *Shelf) write(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), tempPattern)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (s *Shelf) placed(key string, size int64) {
	s.mu.Lock()
	s.add(key, &object{size: size, used: time.Now(), checked: time.Now()})
	full := s.bytes > s.limit
	s.mu.Unlock()
	if full {
		s.evict(key)
	}
}

// evict makes room. What was put there last stays, whatever its size.
func (s *Shelf) evict(last string) {
	live := s.live() // which may read objects
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.objects {
		if Expendable(key) && key != last {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if live[a] != live[b] {
			if live[a] {
				return 1
			}
			return -1
		}
		return s.objects[a].used.Compare(s.objects[b].used)
	})
	for _, key := range keys {
		if s.bytes <= s.limit-s.limit/20 { // not for each object again
			return
		}
		s.drop(key)
	}
}

// OpenNamed opens an object that its key names by digest. It is fs.ErrNotExist also if it was altered before the start,
// or cut since.
func (s *Shelf) OpenNamed(key string) (*os.File, error) {
	d, ok := Named(key)
	if !ok || !s.touch(key) {
		return nil, fs.ErrNotExist
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		s.Drop(key)
		return nil, err
	}
	s.mu.Lock()
	o := s.objects[key]
	size := int64(-1)
	if o != nil && time.Since(o.checked) < time.Hour {
		size = o.size
	}
	s.mu.Unlock()
	if size >= 0 {
		if info, err := f.Stat(); err == nil && info.Size() == size {
			return f, nil
		}
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err == nil && schema.Digest(h.Sum(nil)) != d {
		err = fs.ErrNotExist
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		s.Drop(key)
		return nil, err
	}
	s.mu.Lock()
	if o := s.objects[key]; o != nil {
		o.checked, o.size = time.Now(), n
	}
	s.mu.Unlock()
	return f, nil
}

// tempPattern makes names that are no keys.
const tempPattern = ".tmp-*"

// Download is an object on its way to the shelf. It is for one goroutine.
type Download struct {
	shelf *Shelf
	key   string
	file  *os.File
	sum   hash.Hash
	size  int64
}

// Download begins an object that its key names by digest.
func (s *Shelf) Download(key string) (*Download, error) {
	path := s.path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), tempPattern)
	if err != nil {
		return nil, err
	}
	return &Download{shelf: s, key: key, file: f, sum: sha256.New()}, nil
}

// Name is the file that it is written to; another may read it there.
func (d *Download) Name() string { return d.file.Name() }

func (d *Download) Write(b []byte) (int, error) {
	n, err := d.file.Write(b)
	d.sum.Write(b[:n])
	d.size += int64(n)
	return n, err
}

// Commit puts the object on the shelf, or is a *schema.AlteredError.
func (d *Download) Commit() error {
	want, _ := Named(d.key)
	err := d.file.Close()
	if got := schema.Digest(d.sum.Sum(nil)); err == nil && got != want {
		err = &schema.AlteredError{Object: "segment", Want: want, Got: got}
	}
	if err == nil {
		err = os.Rename(d.file.Name(), d.shelf.path(d.key))
	}
	if err != nil {
		return errors.Join(err, os.Remove(d.file.Name()))
	}
	d.shelf.placed(d.key, d.size)
	return nil
}

// Discard gives it up.
func (d *Download) Discard() {
	d.file.Close()
	_ = os.Remove(d.file.Name()) // the next start does
}
