package program_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"bakehouse/reconcile/program"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func TestAFileFromAURLIsFetchedOnceAndThenComesFromTheStore(t *testing.T) {
	asked := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		io.WriteString(w, "the plug-in")
	}))
	defer web.Close()
	st := memory{}
	f := fleet.File{URL: web.URL + "/x", SHA256: schema.DigestOf([]byte("the plug-in")), Size: -1}
	for range 2 { // passes
		sources := program.Places{}.Sources(t.Context(), st, fstest.MapFS{}, pins("ELF"))
		for range 2 {
			r, err := sources.Open(f, amd64)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if r.Close(); err != nil || string(b) != "the plug-in" {
				t.Errorf("%q, %v", b, err)
			}
		}
	}
	if asked != 1 {
		t.Errorf("the URL was asked %d times", asked)
	}
}

func TestAFileFromAURLIsRefusedUnlessItIsThePinnedOne(t *testing.T) {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
	for name, c := range map[string]struct {
		status     int
		is, pinned string
		want       string
		refused    bool
	}{
		"another file":         {200, "root kit", "the plug-in", "the plugin pins sha256:", true},
		"a Git LFS pointer":    {200, pointer, pointer, "is a Git LFS pointer", false},
		"a page that is gone":  {404, "the plug-in", "the plug-in", "the server answers 404", false},
		"a server out of luck": {500, "", "the plug-in", "the server answers 500", false},
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				io.WriteString(w, c.is)
			}))
			defer web.Close()
			st := memory{}
			_, err := program.Places{}.Sources(t.Context(), st, fstest.MapFS{}, pins("ELF")).Open(
				fleet.File{URL: web.URL, SHA256: schema.DigestOf([]byte(c.pinned)), Size: -1}, amd64)
			if err == nil || !strings.Contains(err.Error(), c.want) || schema.IsRefusal(err) != c.refused || len(st) != 0 {
				t.Errorf("%v, store %d", err, len(st))
			}
		})
	}
}
