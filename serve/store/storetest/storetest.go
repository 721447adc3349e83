// Package storetest is what every back end of a store has to do, as one suite of tests. A back end's own test calls Run
// with a function that makes an empty store, and Child at the start of TestMain, since part of the suite is contention
// between processes.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// Backend is a kind of store.
type Backend struct {
	Fresh    func(t *testing.T) (location string) // makes another empty one
	Leased   bool                                 // the lock does not end with its process, but some time later
	KeepsAll bool                                 // DeleteBatch is refused
}

// Run tests a kind of store.
func Run(t *testing.T, b Backend) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, location string)
	}{
		{"an empty store has nothing and says so", empty},
		{"what was created is read back", roundTrip},
		{"an object is never replaced", neverReplaced},
		{"an object shows only once it is whole", onlyWhole},
		{"a source that fails leaves no object", failingSource},
		{"a listing is in byte order", order},
		{"a listing is the objects with the prefix", listing},
		{"a listing goes on after a key", after},
		{"a listing can be left early", leftEarly},
		{"a part of an object is read by itself", ranges},
		{"an object is described without being read", stat},
		{"objects are dated by the clock that tells the age of others", dates},
		{"a malformed key is refused by every method", malformed},
		{"a cancelled context changes nothing", cancelled},
		{"reading stops at the limit", limit},
		{"the head is the greatest timestamp", head},
		{"of many goroutines one creates", contendGoroutines},
		{"of many processes one creates", contendProcesses},
		{"only one may hold the lock", lock},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b.Fresh(t)) })
	}
	if !b.KeepsAll {
		t.Run("a deleted object is gone and can be created again", func(t *testing.T) { deleted(t, b.Fresh(t)) })
		t.Run("many objects are deleted at once", func(t *testing.T) { deletedAtOnce(t, b.Fresh(t)) })
	}
	if !b.Leased {
		t.Run("a killed process holds no lock", func(t *testing.T) { lockOfTheDead(t, b.Fresh(t)) })
	}
}

func open(t testing.TB, location string) store.Store {
	t.Helper()
	s, err := stores.Open(context.Background(), location)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s store.Store, key, content string) {
	t.Helper()
	if err := store.CreateBytes(t.Context(), s, key, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, s store.Store, key string) string {
	t.Helper()
	b, err := store.Read(t.Context(), s, key, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func list(t testing.TB, s store.Store, prefix string) (all []store.Entry) {
	t.Helper()
	for e, err := range s.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// undated leaves out when objects were created.
func undated(all []store.Entry) []store.Entry {
	for i := range all {
		all[i].Time = time.Time{}
	}
	return all
}

const key = "segments/ab/abcd"

func empty(t *testing.T, location string) {
	s := open(t, location)
	if _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat: %v", err)
	}
	if _, err := s.OpenRange(t.Context(), key, 1, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenRange: %v", err)
	}
	if all := list(t, s, ""); len(all) != 0 {
		t.Errorf("List: %v", all)
	}
	if strays, err := s.Strays(t.Context()); len(strays) != 0 || err != nil {
		t.Errorf("Strays: %q, %v", strays, err)
	}
	if v, err := store.Head(t.Context(), s); v != 0 || err != nil {
		t.Errorf("Head: %d, %v", v, err)
	}
}

func roundTrip(t *testing.T, location string) {
	s := open(t, location)
	big := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	for key, want := range map[string]string{
		"targets/00/empty":           "",
		"targets/00/small":           "small",
		"segments/00/big":            string(big),
		"metadata/1.root.json":       "{}",
		"statements/0123/key_1.json": "{}",
	} {
		create(t, s, key, want)
		for _, s := range []store.Store{s, open(t, location)} {
			if got := content(t, s, key); got != want {
				t.Errorf("%s: %d bytes read, %d written, or others", key, len(got), len(want))
			}
			if all := undated(list(t, s, key)); len(all) != 1 || all[0] != (store.Entry{Key: key, Size: int64(len(want))}) {
				t.Errorf("List says %v of %s with %d bytes", all, key, len(want))
			}
		}
	}
}

func neverReplaced(t *testing.T, location string) {
	s := open(t, location)
	create(t, s, key, "first")
	for _, s := range []store.Store{s, open(t, location)} {
		for _, other := range []string{"second", "first", ""} {
			if err := store.CreateBytes(t.Context(), s, key, []byte(other)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("creating it again as %q: %v", other, err)
			}
		}
		if got := content(t, s, key); got != "first" {
			t.Errorf("it became %q", got)
		}
	}
}

func onlyWhole(t *testing.T, location string) {
	s := open(t, location)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.Create(context.Background(), key, r) }()
	if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	other := open(t, location)
	if _, err := other.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half written, Open says %v", err)
	}
	if all := list(t, other, ""); len(all) != 0 {
		t.Errorf("half written, List says %v", all)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := content(t, other, key); len(got) != 1<<20 {
		t.Errorf("%d bytes of %d", len(got), 1<<20)
	}
}

func failingSource(t *testing.T, location string) {
	s := open(t, location)
	lost := errors.New("connection lost")
	err := s.Create(t.Context(), key, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(lost)))
	if !errors.Is(err, lost) {
		t.Errorf("Create: %v", err)
	}
	if all := list(t, s, ""); len(all) != 0 {
		t.Errorf("List: %v", all)
	}
	create(t, s, key, "whole")
}

func order(t *testing.T, location string) {
	s := open(t, location)
	want := []string{"metadata/1-a", "metadata/1.x", "metadata/1/a", "metadata/10", "metadata/1_", "metadata/1a/b", "metadata/9",
		"timestamps/000000000009.json", "timestamps/000000000010.json"}
	for _, i := range []int{4, 8, 0, 2, 6, 1, 3, 7, 5} {
		create(t, s, want[i], "x")
	}
	var got []string
	for _, e := range list(t, s, "") {
		got = append(got, e.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func listing(t *testing.T, location string) {
	s := open(t, location)
	sizes := map[string]int64{}
	rapid.Check(t, func(r *rapid.T) {
		// Directories of digits and names with a letter: no key is at once another's directory.
		for range rapid.IntRange(0, 4).Draw(r, "new") {
			key := rapid.StringMatching(`(targets|metadata)(/[0-2]{1,2}[-_]?){0,2}/[0-2]{0,1}[a-b][._-]?[a-b]?`).Draw(r, "key")
			value := rapid.StringN(0, 20, -1).Draw(r, "value")
			err := store.CreateBytes(context.Background(), s, key, []byte(value))
			if _, there := sizes[key]; there != errors.Is(err, fs.ErrExist) || !there && err != nil {
				r.Fatalf("creating %s, there before: %v: %v", key, there, err)
			} else if !there {
				sizes[key] = int64(len(value))
			}
		}
		prefix := rapid.StringMatching(`|t|x|targets|(targets|metadata)/[0-2]{0,2}[-_/]{0,1}[0-2a]?`).Draw(r, "prefix")
		var want []store.Entry
		for key, size := range sizes {
			if strings.HasPrefix(key, prefix) {
				want = append(want, store.Entry{Key: key, Size: size})
			}
		}
		slices.SortFunc(want, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) })
		if got := undated(list(t, s, prefix)); !slices.Equal(got, want) {
			r.Fatalf("prefix %q:\ngot  %v\nwant %v", prefix, got, want)
		}
	})
}

func leftEarly(t *testing.T, location string) {
	s := open(t, location)
	for i := range 3 {
		create(t, s, schema.TargetKey(schema.DigestOf([]byte{byte(i)})), "x")
	}
	n := 0
	for _, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d entries", n)
	}
}

func deleted(t *testing.T, location string) {
	s := open(t, location)
	create(t, s, key, "old")
	if err := s.DeleteBatch(t.Context(), []string{key}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if err := s.DeleteBatch(t.Context(), []string{key}); err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
	if all := list(t, s, ""); len(all) != 0 {
		t.Errorf("List: %v", all)
	}
	create(t, s, key, "new")
	if got := content(t, s, key); got != "new" {
		t.Errorf("now %q", got)
	}
}

func malformed(t *testing.T, location string) {
	s := open(t, location)
	for _, key := range []string{"", "x", "/etc/passwd", "segments/../../x", "segments//x", "segments/x/", ".lock", ".tmp/lock",
		"segments/.x", "segments/a..b", "Segments/x", "segments/A", "segments/a\x00b", "segments/a\nb", "segments/" + strings.Repeat("a", 300)} {
		if err := store.CreateBytes(t.Context(), s, key, nil); err == nil || errors.Is(err, fs.ErrExist) {
			t.Errorf("Create of %q: %v", key, err)
		}
		if r, err := s.Open(t.Context(), key); err == nil || errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				r.Close()
			}
			t.Errorf("Open of %q: %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat of %q: %v", key, err)
		}
		if err := s.DeleteBatch(t.Context(), []string{key}); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("DeleteBatch of %q: %v", key, err)
		}
	}
	if all := list(t, s, ""); len(all) != 0 {
		t.Errorf("List: %v", all)
	}
}

func cancelled(t *testing.T, location string) {
	s := open(t, location)
	create(t, s, "targets/00/a", "kept")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.CreateBytes(ctx, s, key, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Create: %v", err)
	}
	if r, err := s.Open(ctx, "targets/00/a"); !errors.Is(err, context.Canceled) {
		if err == nil {
			r.Close()
		}
		t.Errorf("Open: %v", err)
	}
	if err := s.DeleteBatch(ctx, []string{"targets/00/a"}); err == nil {
		t.Error("DeleteBatch took no notice")
	}
	var last error
	for _, err := range s.List(ctx, "", "") {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("List: %v", last)
	}
	// Cancelled while the source is being read.
	ctx, cancel = context.WithCancel(t.Context())
	source := io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }), strings.NewReader("rest"))
	if err := s.Create(ctx, key, source); !errors.Is(err, context.Canceled) {
		t.Errorf("Create while reading: %v", err)
	}
	if all := list(t, s, ""); len(all) != 1 {
		t.Errorf("List: %v", all)
	}
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(b []byte) (int, error) { return r(b) }

func limit(t *testing.T, location string) {
	s := open(t, location)
	create(t, s, key, "12345")
	if b, err := store.Read(t.Context(), s, key, 5); err != nil || string(b) != "12345" {
		t.Errorf("at the limit: %q, %v", b, err)
	}
	if b, err := store.Read(t.Context(), s, key, 4); err == nil {
		t.Errorf("over the limit: %q", b)
	}
	if _, err := store.Read(t.Context(), s, "segments/ab/none", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func head(t *testing.T, location string) {
	s := open(t, location)
	for _, v := range []int64{1, 2, 9, 10, 11, 100} {
		create(t, s, schema.TimestampKey(v), "{}")
		if got, err := store.Head(t.Context(), s); got != v || err != nil {
			t.Errorf("head is %d (%v) after %d", got, err, v)
		}
	}
	create(t, s, schema.TimestampDir+"latest.json", "{}")
	create(t, s, schema.MetadataKey("snapshot", 200), "{}")
	if got, err := store.Head(t.Context(), s); got != 100 || err != nil {
		t.Errorf("head is %d (%v) beside names that are no timestamps", got, err)
	}
}

func lock(t *testing.T, location string) {
	s := open(t, location)
	held, err := s.Lock(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []store.Store{s, open(t, location)} {
		_, err := s.Lock(t.Context(), "test")
		if err == nil || !strings.Contains(err.Error(), "another reconcile is running") ||
			!strings.Contains(fault.HintOf(err), fmt.Sprintf("process %d on ", os.Getpid())) {
			t.Errorf("a second lock: %v, hint %q", err, fault.HintOf(err))
		}
	}
	create(t, open(t, location), key, "the lock is for reconcile; creating stays possible")
	if left, err := held.Held(t.Context()); left < time.Second || err != nil {
		t.Errorf("held for %s more, %v", left, err)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	held, err = open(t, location).Lock(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
}

func after(t *testing.T, location string) {
	s := open(t, location)
	for v := range int64(5) {
		create(t, s, schema.TimestampKey(v+1), "{}")
	}
	create(t, s, schema.MetadataKey("root", 1), "{}")
	for _, test := range []struct {
		prefix, after string
		want          int
	}{{schema.TimestampDir, schema.TimestampKey(3), 2}, {schema.TimestampDir, schema.TimestampKey(5), 0}, {"", "", 6},
		{schema.TimestampDir, schema.TimestampDir + "000000000003", 3}, {"", schema.MetadataKey("root", 1), 5},
		{schema.TimestampDir, "z", 0}, {schema.TimestampDir, "a", 5}, {"", "metadata/zz", 5}} {
		n := 0
		for e, err := range s.List(t.Context(), test.prefix, test.after) {
			if n++; err != nil || e.Key <= test.after {
				t.Errorf("%+v: %+v, %v", test, e, err)
			}
		}
		if n != test.want {
			t.Errorf("%+v: %d objects", test, n)
		}
	}
	for from, want := range map[int64]string{0: schema.TimestampKey(5), 5: schema.TimestampKey(5), 6: ""} {
		if head, err := store.HeadFrom(t.Context(), s, from); head.Key != want || err != nil {
			t.Errorf("from %d the head is %+v, %v", from, head, err)
		}
	}
}

func ranges(t *testing.T, location string) {
	s := open(t, location)
	create(t, s, key, "0123456789")
	for _, test := range []struct {
		offset, length int64
		want           string
	}{{0, 10, "0123456789"}, {3, 4, "3456"}, {9, 1, "9"}, {4, 100, "456789"}, {0, 1, "0"}} {
		r, err := s.OpenRange(t.Context(), key, test.offset, test.length)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if r.Close(); err != nil || string(b) != test.want {
			t.Errorf("%+v: %q, %v", test, b, err)
		}
	}
}

func stat(t *testing.T, location string) {
	s := open(t, location)
	create(t, s, key, "12345")
	want := list(t, s, key)[0]
	e, err := s.Stat(t.Context(), key)
	// Back ends list times to the nanosecond or the millisecond and describe an object to the second.
	if e.Time = e.Time.Truncate(time.Second); err != nil || e.Key != key || e.Size != 5 ||
		!e.Time.Equal(want.Time.Truncate(time.Second)) {
		t.Errorf("%+v, listed as %+v, %v", e, want, err)
	}
}

func contendGoroutines(t *testing.T, location string) {
	const keys, goroutines, handles = 20, 16, 2
	stores := make([]store.Store, handles)
	for i := range stores {
		stores[i] = open(t, location)
	}
	results := make(chan result, keys*goroutines)
	var group sync.WaitGroup
	start := make(chan struct{})
	for g := range goroutines {
		group.Go(func() {
			<-start
			id := fmt.Sprintf("goroutine %d", g)
			for k := range keys {
				err := store.CreateBytes(t.Context(), stores[g%handles], contested(k), []byte(id))
				switch {
				case err == nil:
					results <- result{contested(k), id}
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				}
			}
		})
	}
	close(start)
	group.Wait()
	close(results)
	checkWinners(t, stores[0], keys, results)
}
