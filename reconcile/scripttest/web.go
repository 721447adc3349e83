package scripttest

import (
	"cmp"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"bakehouse/schema"

	"github.com/rogpeppe/go-internal/testscript"
)

// webServer is a vendor's download server, as scripts have one.
type webServer struct {
	*httptest.Server
	asked atomic.Int64
}

// web DIR serves a directory over TLS and sets $WEB to its URL. Below /half it dies in the middle of each file, below
// /round it redirects for ever, and below /plain it leads away from TLS.
func web(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	s := &webServer{}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(dir)))
	mux.HandleFunc("/half/{name}", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.PathValue("name"))))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b[:len(b)/2])
	})
	mux.HandleFunc("/round/{name}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	mux.HandleFunc("/plain/{name}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/"+r.PathValue("name"), http.StatusFound)
	})
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		mux.ServeHTTP(w, r)
	}))
	ts.Defer(s.Close)
	state(ts).web = s
	ca := ts.MkAbs("ca.pem")
	ts.Check(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644))
	ts.Setenv("SSL_CERT_FILE", ca)
	ts.Setenv("WEB", s.URL)
}

// offline ends the server.
func offline(ts *testscript.TestScript, neg bool, args []string) { state(ts).web.Close() }

// asked N: so many requests reached the server since this was last said.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	if got := state(ts).web.asked.Swap(0); strconv.FormatInt(got, 10) != args[0] {
		ts.Fatalf("the server was asked %d times, not %s", got, args[0])
	}
}

// digest NAME FILE sets a variable to a file's digest.
func digest(ts *testscript.TestScript, neg bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Setenv(args[0], schema.DigestOf(b).String())
}

// fill-in FROM TO copies a file with $NAME replaced, for each variable that is set.
func fillIn(ts *testscript.TestScript, neg bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), func(name string) string { return cmp.Or(ts.Getenv(name), "$"+name) })
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o644))
}
