package program_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"bakehouse/reconcile/program"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

func tarOf(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// from is a file as a fleet describes it.
func from(url string, archive []byte, member string) fleet.File {
	d := schema.DigestOf(archive)
	return fleet.File{Path: "/usr/bin/x", URL: url, Archive: d, Member: member, SHA256: schema.DigestOf([]byte(d.String() + member)), Size: -1,
		Source: fleet.Pos{File: "plugins/p/plugin.cue", Line: 3, Col: 5}}
}

func TestMembersOfAnArchiveFromAURLCostOneFetch(t *testing.T) {
	is, asked := tarOf(t, "./usr/bin/x", "the agent"), 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Write(is)
	}))
	defer web.Close()
	st := memory{}
	for range 2 { // passes
		sources := program.Places{}.Sources(t.Context(), st, fstest.MapFS{}, pins("ELF"))
		for range 3 {
			r, err := sources.Open(from(web.URL, is, "usr/bin/x"), amd64)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if r.Close(); err != nil || string(b) != "the agent" {
				t.Errorf("%q, %v", b, err)
			}
		}
		if _, err := sources.Open(from(web.URL, is, "usr/bin/y"), amd64); err == nil ||
			!strings.Contains(err.Error(), "plugins/p/plugin.cue:3:5: ") || fault.HintOf(err) == "" {
			t.Errorf("a member that is not there: %v", err)
		}
		if err := sources.Close(); err != nil {
			t.Error(err)
		}
	}
	if asked != 1 {
		t.Errorf("the URL was asked %d times", asked)
	}
}

func TestAnArchiveThatTheStoreAlteredIsRefused(t *testing.T) {
	is := tarOf(t, "./usr/bin/x", "the agent")
	f := from("http://127.0.0.1:0/x.tar", is, "usr/bin/x")
	st := memory{schema.SourceFileKey(f.Archive): tarOf(t, "./usr/bin/x", "a root kit")}
	sources := program.Places{}.Sources(t.Context(), st, fstest.MapFS{}, pins("ELF"))
	defer sources.Close()
	if r, err := sources.Open(f, amd64); !fault.IsRefusal(err) {
		t.Errorf("%v, %v", r, err)
	}
}

func TestWhatSeveralPackagesWantAtOnceIsFetchedOnce(t *testing.T) {
	is := tarOf(t, "./usr/bin/x", "the agent")
	var asked atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Write(is)
	}))
	defer web.Close()
	sources := program.Places{}.Sources(t.Context(), &lockedMemory{memory: memory{}}, fstest.MapFS{}, pins("ELF"))
	defer sources.Close()
	var wg sync.WaitGroup
	for i := range 16 {
		f := from(web.URL, is, "usr/bin/x")
		want := "the agent"
		if i%2 == 1 { // the archive itself
			f, want = fleet.File{URL: web.URL, SHA256: f.Archive, Size: -1}, string(is)
		}
		wg.Go(func() {
			r, err := sources.Open(f, amd64)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			if b, err := io.ReadAll(r); err != nil || string(b) != want {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	}
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("the URL was asked %d times", asked.Load())
	}
}

// lockedMemory is a store for several at once, as stores are.
type lockedMemory struct {
	mu sync.Mutex
	memory
}

func (l *lockedMemory) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.Open(ctx, key)
}

func (l *lockedMemory) Create(ctx context.Context, key string, r io.Reader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.Create(ctx, key, r)
}

// Thousands of files of one archive are taken out in one go, and the limit on open files does not count.
func TestTheFilesOfATreeAreTakenOutTogether(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	text := func(i int) string { return strings.Repeat(fmt.Sprint(i, " "), i%9) }
	const n = 3000
	for i := range n {
		h := &tar.Header{Name: fmt.Sprintf("app/%d", i), Mode: 0o644, Size: int64(len(text(i)))}
		if i == 7 { // a hard link in between counts for nothing
			h = &tar.Header{Name: "app/7", Typeflag: tar.TypeLink, Linkname: "app/6"}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text(i)[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	src := program.Places{}.Sources(t.Context(), nil, fstest.MapFS{"x.tar": {Data: b.Bytes()}}, &fleet.Fleet{})
	defer src.Close()
	var open []io.Closer
	for i := range n {
		name := i
		if i == 7 {
			name = 6
		}
		r, err := src.Open(fleet.File{Repo: "x.tar", Member: fmt.Sprintf("app/%d", name), Tree: true}, amd64)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
		if got, err := io.ReadAll(r); err != nil || string(got) != text(name) {
			t.Fatalf("%d: %q, %v", i, got, err)
		}
	}
	if _, err := src.Open(fleet.File{Repo: "x.tar", Member: "app/none", Tree: true}, amd64); err == nil {
		t.Error("a member that is not there opens")
	}
	for _, r := range open {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
