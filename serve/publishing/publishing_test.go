package publishing_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/publishing"
	"bakehouse/serve/store"
	"bakehouse/serve/store/local"
	"bakehouse/serve/store/remote"
	"bakehouse/serve/store/storetest"
)

func TestMain(m *testing.M) {
	storetest.Child()
	m.Run()
}

// served offers a store over TLS, behind what a test puts in between, and returns its location.
func served(t *testing.T, s store.Store, between func(http.Handler) http.Handler) (string, *httptest.Server) {
	t.Helper()
	var h http.Handler = &publishing.Handler{Store: s, Log: slog.New(slog.DiscardHandler),
		Admit:   func(_ context.Context, _ string, r io.Reader) (io.Reader, error) { return r, nil },
		Created: func(*http.Request, string) {}}
	if between != nil {
		h = between(h)
	}
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	return locate(t, server), server
}

// locate is the location of the store behind a server.
func locate(t *testing.T, server *httptest.Server) string {
	t.Helper()
	dir := t.TempDir()
	ca, secret := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "secret")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	err := errors.Join(os.WriteFile(ca, block, 0o600), os.WriteFile(secret, []byte("pass word\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return server.URL + "?" + url.Values{"user": {"ci"}, "password-file": {secret}, "ca": {ca}}.Encode()
}

func newLocal(t *testing.T) *local.Local {
	t.Helper()
	s, err := local.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Without the rules about content, which the suite's made-up objects do not keep.
func TestAStoreBehindAServerDoesAllThatAStoreMust(t *testing.T) {
	storetest.Run(t, storetest.Backend{Leased: true, KeepsAll: true, Fresh: func(t *testing.T) string {
		location, _ := served(t, newLocal(t), nil)
		return location
	}})
}

var quick = remote.Limits{Header: 5 * time.Second, Stall: 5 * time.Second, Away: 5 * time.Second}

func open(t *testing.T, location string) store.Store {
	t.Helper()
	s, err := remote.OpenWithin(location, quick)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var content = strings.Repeat("0123456789", 100_000)

// cutting ends connections in the middle, as often as it is told to.
type cutting struct {
	next   http.Handler
	times  atomic.Int64
	before bool // before anything is done; else the answer alone is lost
}

func (c *cutting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.times.Add(-1) < 0 {
		c.next.ServeHTTP(w, r)
		return
	}
	if !c.before {
		c.next.ServeHTTP(&half{ResponseWriter: w, left: len(content) / 2}, r)
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // an answer has begun
	}
	conn.Close()
}

// half passes on the first bytes of a long answer, and nothing of a short one.
type half struct {
	http.ResponseWriter
	left   int
	status int
}

func (h *half) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *half) WriteHeader(status int) {
	if h.status = status; status == http.StatusOK || status == http.StatusPartialContent {
		h.ResponseWriter.WriteHeader(status)
	}
}

func (h *half) Write(b []byte) (int, error) {
	if h.status != http.StatusOK && h.status != http.StatusPartialContent {
		return len(b), nil
	}
	n := min(len(b), h.left)
	h.left -= n
	_, _ = h.ResponseWriter.Write(b[:n])
	return len(b), nil
}

func TestWhatIsCutOnTheWayIsAskedForAgain(t *testing.T) {
	for name, before := range map[string]bool{"before it is done": true, "after it is done": false} {
		t.Run(name, func(t *testing.T) {
			cut := &cutting{before: before}
			location, _ := served(t, newLocal(t), func(h http.Handler) http.Handler { cut.next = h; return cut })
			s := open(t, location)
			key := schema.SegmentKey(schema.DigestOf([]byte(content)))
			cut.times.Store(2)
			if err := store.CreateBytes(t.Context(), s, key, []byte(content)); err != nil {
				t.Fatalf("creating it: %v", err)
			}
			if err := store.CreateBytes(t.Context(), s, key, []byte(content)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("creating it again: %v", err)
			}
			cut.times.Store(2)
			b, err := store.Read(t.Context(), s, key, 1<<30)
			if err != nil || string(b) != content {
				t.Errorf("%d bytes read, %v", len(b), err)
			}
			cut.times.Store(1)
			n := 0
			for _, err := range s.List(t.Context(), "", "") {
				if n++; err != nil {
					t.Error(err)
				}
			}
			if n != 1 {
				t.Errorf("%d objects", n)
			}
		})
	}
}

func TestAnotherObjectThatCameMeanwhileIsNotTakenForOurs(t *testing.T) {
	under := newLocal(t)
	key := schema.LockKey(7)
	first := true
	location, _ := served(t, under, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if first && r.Method == http.MethodPut {
				first = false
				if err := store.CreateBytes(r.Context(), under, key, []byte("theirs")); err != nil {
					t.Error(err)
				}
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	err := store.CreateBytes(t.Context(), open(t, location), key, []byte("ours"))
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
}

func TestAServerThatIsStartedAgainIsWaitedFor(t *testing.T) {
	under := newLocal(t)
	location, server := served(t, under, nil)
	s := open(t, location)
	key := schema.SegmentKey(schema.DigestOf([]byte("x")))
	if err := store.CreateBytes(t.Context(), s, key, []byte("x")); err != nil {
		t.Fatal(err)
	}
	address, config := server.Listener.Addr().String(), server.TLS
	handler := server.Config.Handler
	server.Close()
	done := make(chan error, 1)
	go func() { _, err := s.Stat(context.Background(), key); done <- err }()
	again := httptest.NewUnstartedServer(handler)
	again.Listener.Close()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	again.Listener, again.TLS = l, config
	again.StartTLS()
	defer again.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAServerThatStaysAwayIsGivenUpCleanly(t *testing.T) {
	location, server := served(t, newLocal(t), nil)
	server.Close()
	s, err := remote.OpenWithin(location, remote.Limits{Header: time.Second, Stall: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Lock(t.Context(), "reconcile")
	if err == nil || !strings.Contains(err.Error(), "server https://127.0.0.1") ||
		!strings.Contains(fault.HintOf(err), "can be run again") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

// A server of another version, or a proxy, that answers 404 to everything has not said that the store is empty.
func TestAServerWithoutAStoreIsNotTakenForAnEmptyOne(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	s := open(t, locate(t, server))
	if _, err := store.Head(t.Context(), s); err == nil || !strings.Contains(err.Error(), "offers no store") {
		t.Errorf("Head: %v", err)
	}
	if _, err := s.Open(t.Context(), schema.TimestampKey(1)); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
}

func TestNoCredentialsGoToAnotherServer(t *testing.T) {
	other := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for, with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	server := httptest.NewTLSServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	if _, err := store.Head(t.Context(), open(t, locate(t, server))); err == nil {
		t.Error("the redirect was followed")
	}
}

func TestALocationHoldsNoSecretAndSaysWhatIsWrong(t *testing.T) {
	for location, want := range map[string]string{
		"https://ci:top-secret@server:8443":                   "holds credentials",
		"https://ci@server:8443":                              "holds credentials",
		"https://server:8443":                                 "no user is set",
		"https://server:8443?user=ci&password=top-secret":     "unknown parameter",
		"https://server:8443?user=ci&user=top-secret":         "given twice",
		"https://server:8443?user=a:b&password-file=x":        "no user is set, or the name has a colon",
		"https://server:8443?user=ci&password-file=/nowhere":  "no such file",
		"https://server:8443?user=ci&ca=/nowhere":             "no such file",
		"https://?user=ci":                                    "not https://",
		"https://server:8443?user=ci":                         "no password",
		"https://server:8443?user=ci&ca=publishing_test.go&x": "unknown parameter",
	} {
		_, err := remote.Open(location)
		if err == nil || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" ||
			strings.Contains(err.Error()+fault.HintOf(err), "top-secret") {
			t.Errorf("%s: %v, hint %q", location, err, fault.HintOf(err))
		}
	}
}
