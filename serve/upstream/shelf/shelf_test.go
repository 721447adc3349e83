package shelf

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"bakehouse/schema"
)

func open(t *testing.T, dir string, limit int64, live ...string) *Shelf {
	t.Helper()
	s, err := Open(dir, limit, func() map[string]bool {
		m := map[string]bool{}
		for _, key := range live {
			m[key] = true
		}
		return m
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func segment(fill byte, size int) (key string, b []byte) {
	b = bytes.Repeat([]byte{fill}, size)
	return schema.SegmentKey(schema.DigestOf(b)), b
}

func download(t *testing.T, s *Shelf, key string, b []byte) error {
	t.Helper()
	d, err := s.Download(key)
	if err == nil {
		_, err = d.Write(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.Commit()
}

func read(s *Shelf, key string) ([]byte, error) {
	f, err := s.OpenNamed(key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func TestWhatHostsAreGivenNowGoesLast(t *testing.T) {
	live, b := segment('l', 400)
	s := open(t, t.TempDir(), 1000, live)
	if err := download(t, s, live, b); err != nil {
		t.Fatal(err)
	}
	var others []string
	for _, fill := range []byte("abc") {
		key, b := segment(fill, 400)
		if err := download(t, s, key, b); err != nil {
			t.Fatal(err)
		}
		others = append(others, key)
	}
	if !s.Has(live) || s.Has(others[0]) || s.Has(others[1]) || !s.Has(others[2]) {
		t.Errorf("live %v, others %v %v %v", s.Has(live), s.Has(others[0]), s.Has(others[1]), s.Has(others[2]))
	}
	if n, objects := s.Stat(); n != 800 || objects != 2 {
		t.Errorf("%d bytes of %d objects", n, objects)
	}
}

func TestWhatAReleaseIsReadFromDoesNotGoForWantOfRoom(t *testing.T) {
	s := open(t, t.TempDir(), 100)
	root := schema.MetadataKey("root", 1)
	if err := s.Keep(root, make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	for _, fill := range []byte("ab") {
		key, b := segment(fill, 90)
		if err := download(t, s, key, b); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := s.Get(root); err != nil || len(b) != 500 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestAlteredObjectsAreGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	key, b := segment('a', 1000)
	name := schema.MetadataKey("snapshot", 7)
	if err := errors.Join(download(t, s, key, b), s.Put(name, b)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "objects", ".tmp-1"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, harm := range map[string]func([]byte) []byte{
		"a flipped bit": func(b []byte) []byte { b[7] ^= 1; return b },
		"cut":           func(b []byte) []byte { return b[:40] },
		"empty":         func([]byte) []byte { return nil },
	} {
		s = open(t, dir, 1<<20)
		for _, k := range []string{key, name} {
			path := s.path(k)
			whole, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, harm(whole), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := read(s, key); !errors.Is(err, fs.ErrNotExist) || s.Has(key) {
			t.Errorf("the segment: %v", err)
		}
		if _, err := s.Get(name); !errors.Is(err, fs.ErrNotExist) || s.Has(name) {
			t.Errorf("the file: %v", err)
		}
		if err := errors.Join(download(t, s, key, b), s.Put(name, b)); err != nil {
			t.Fatal(err)
		}
		if got, err := read(s, key); err != nil || !bytes.Equal(got, b) {
			t.Errorf("fetched again: %d bytes, %v", len(got), err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "objects", ".tmp-1")); err == nil {
		t.Error("a download that did not end is kept")
	}
	other, _ := segment('b', 10)
	altered := (*schema.AlteredError)(nil)
	if err := download(t, s, other, b); !errors.As(err, &altered) || s.Has(other) {
		t.Errorf("another segment's bytes: %v", err)
	}
}
