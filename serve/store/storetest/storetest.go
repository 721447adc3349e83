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
)

// Run tests the kind of store that fresh makes: each call returns the location of another empty one.
func Run(t *testing.T, fresh func(t *testing.T) (location string)) {
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
		{"a listing can be left early", leftEarly},
		{"a deleted object is gone and can be created again", deleted},
		{"objects are dated by the clock that tells the age of others", dates},
		{"many objects are deleted at once", deletedAtOnce},
		{"a malformed key is refused by every method", malformed},
		{"a cancelled context changes nothing", cancelled},
		{"reading stops at the limit", limit},
		{"the head is the greatest timestamp", head},
		{"of many goroutines one creates", contendGoroutines},
		{"of many processes one creates", contendProcesses},
		{"only one may hold the lock", lock},
		{"a killed process holds no lock", lockOfTheDead},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, fresh(t)) })
	}
}

func open(t testing.TB, location string) store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), location)
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
	for e, err := range s.List(context.Background(), prefix) {
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
	if err := s.Delete(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Delete: %v", err)
	}
	if all := list(t, s, ""); len(all) != 0 {
		t.Errorf("List: %v", all)
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
	for _, err := range s.List(t.Context(), "") {
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
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Delete(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Delete: %v", err)
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
		if err := s.Delete(t.Context(), key); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Delete of %q: %v", key, err)
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
	if err := s.Delete(ctx, "targets/00/a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete: %v", err)
	}
	var last error
	for _, err := range s.List(ctx, "") {
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

func locks(s store.Store) bool {
	_, ok := s.(interface {
		Lock(context.Context) (func() error, error)
	})
	return ok
}

func lock(t *testing.T, location string) {
	s := open(t, location)
	if !locks(s) {
		release, err := store.Lock(t.Context(), s)
		if err != nil {
			t.Fatalf("a back end without a lock locks nothing, but: %v", err)
		}
		if err := release(); err != nil {
			t.Error(err)
		}
		return
	}
	release, err := store.Lock(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []store.Store{s, open(t, location)} {
		_, err := store.Lock(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), "another reconcile is running") || fault.HintOf(err) == "" {
			t.Errorf("a second lock: %v, hint %q", err, fault.HintOf(err))
		}
	}
	create(t, open(t, location), key, "the lock is for reconcile; creating stays possible")
	if err := release(); err != nil {
		t.Fatal(err)
	}
	release, err = store.Lock(t.Context(), open(t, location))
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
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
