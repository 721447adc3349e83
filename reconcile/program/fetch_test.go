package program_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"bakehouse/reconcile/program"
	"bakehouse/schema"
	"bakehouse/schema/fault"
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
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.IsRefusal(err) != c.refused || len(st) != 0 {
				t.Errorf("%v, store %d", err, len(st))
			}
		})
	}
}

func TestAFetchIsBoundedAndLeavesNothingBehind(t *testing.T) {
	is := []byte(strings.Repeat("the plug-in\n", 100))
	mux := http.NewServeMux()
	mux.HandleFunc("/x", func(w http.ResponseWriter, _ *http.Request) { w.Write(is) })
	mux.HandleFunc("/half", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(is)))
		w.Write(is[:len(is)/2])
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) { // of unknown length
		w.Write(is[:len(is)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		w.Write(make([]byte, 5000))
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) })
	mux.HandleFunc("/round", func(w http.ResponseWriter,
		r *http.Request) {
		http.Redirect(w, r, "/round", http.StatusFound)
	})
	web := httptest.NewServer(mux)
	defer web.Close()
	for path, want := range map[string]string{
		"/half": "the server stopped after 600 bytes", "/cut": "the server stopped after 600 bytes",
		"/large":   "has 5000 bytes; at most 2000",
		"/endless": "has more than 2000 bytes", "/round": "redirected more than 5 times", "/away": "",
	} {
		t.Run(path, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			st := memory{}
			sources := program.Places{}.Sources(t.Context(), st, fstest.MapFS{}, pins("ELF"))
			sources.AtMost(2000)
			f := fleet.File{URL: web.URL + path, SHA256: schema.DigestOf(is), Size: -1}
			_, err := sources.Open(f, amd64)
			if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			if want == "" {
				if err != nil || len(st) != 1 {
					t.Errorf("%v, %d in the store", err, len(st))
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), f.URL+": ") ||
				fault.IsRefusal(err) || len(st) != 0 {
				t.Errorf("%v, %d in the store; want %s", err, len(st), want)
			}
			// What failed once is tried again.
			f.URL = web.URL + "/x"
			if _, err := sources.Open(f, amd64); err != nil || len(st) != 1 {
				t.Errorf("then %v, %d in the store", err, len(st))
			}
		})
	}
}

func TestARedirectDoesNotGiveUpTLS(t *testing.T) {
	asked := false
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer plain.Close()
	web := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/x", http.StatusFound))
	defer web.Close()
	program.TrustInTest(t, web.Client().Transport)
	_, err := program.Places{}.Sources(t.Context(), memory{}, fstest.MapFS{}, pins("ELF")).Open(
		fleet.File{URL: web.URL + "/x", SHA256: schema.DigestOf([]byte("x")), Size: -1}, amd64)
	if err == nil || !strings.Contains(err.Error(), "redirected from https to http") || asked {
		t.Errorf("%v, asked %v", err, asked)
	}
}
