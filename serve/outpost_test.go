package serve

import (
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
	"bakehouse/serve/upstream"
)

// link stands between a site and its centre: it counts what is asked for, and can be cut or bent.
type link struct {
	mu    sync.Mutex
	cut   bool
	bend  func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool // true: it has answered
	asked []string
}

func (l *link) over(pass http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		cut, bend := l.cut, l.bend
		if r.Header.Get(uplink.SiteHeader) != "" && !cut {
			l.asked = append(l.asked, r.Method+" "+r.URL.Path)
		}
		l.mu.Unlock()
		if r.Header.Get(uplink.SiteHeader) == "" { // who asks the centre itself
			pass.ServeHTTP(w, r)
			return
		}
		if cut {
			panic(http.ErrAbortHandler)
		}
		if bend == nil || !bend(w, r, pass) {
			pass.ServeHTTP(w, r)
		}
	})
}

func (l *link) set(cut bool, bend func(http.ResponseWriter, *http.Request, http.Handler) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.bend = cut, bend
}

func (l *link) count(prefix string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.asked {
		if strings.HasPrefix(a, prefix) {
			n++
		}
	}
	return n
}

// outpost is a site under test, whose centre is centre.
type outpost struct {
	*site
	f      *fleet
	dir    string
	up     *upstream.Site
	link   *link
	centre *site
	tune   func(*upstream.Options)
}

// startSite serves f by a centre, and by its site muc.
func startSite(t testing.TB, f *fleet, tune func(*upstream.Options)) *outpost {
	t.Helper()
	l := &link{}
	centre := start(t, f)
	centre.http.Config.Handler = l.over(centre.http.Config.Handler)
	m := &outpost{f: f, dir: t.TempDir(), link: l, centre: centre, tune: tune}
	m.boot()
	return m
}

// boot starts the site with what is in its directory.
func (m *outpost) boot() {
	m.centre.t.Helper()
	check(m.centre.t, m.try())
}

func (m *outpost) try() (err error) {
	t := m.centre.t
	db, err := inventory.Open(t.Context(), filepath.Join(m.dir, "inventory.db"))
	check(t, err)
	log := &lockedBuffer{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.centre.http.Certificate().Raw}))
	o := upstream.Options{Name: "muc", Centre: m.centre.http.URL, User: muc.name, Dir: m.dir, Limit: 1 << 30,
		Secret:      func() (string, error) { return muc.secret, nil },
		Authorities: func() ([]string, error) { return []string{ca}, nil },
		Pause:       1, Program: "test", Inventory: db, Log: logger}
	if m.tune != nil {
		m.tune(&o)
	}
	up, err := upstream.Open(t.Context(), o)
	check(t, err)
	if _, err := up.Step(t.Context(), nil); err != nil {
		t.Log("the centre: ", err)
	}
	s, err := New(t.Context(), Options{Store: up.Store(), Inventory: db, Anchor: m.f.Anchor, Site: up, Log: logger})
	if err != nil {
		return errors.Join(err, up.Close(), db.Close())
	}
	m.up, m.site = up, serveTLS(t, s, db, log)
	t.Cleanup(m.halt)
	return nil
}

// halt ends the site; what it has on disk stays.
func (m *outpost) halt() {
	if m.site == nil {
		return
	}
	m.site.stop()
	if err := m.up.Close(); err != nil {
		m.centre.t.Error(err)
	}
	m.site = nil
}

// step polls the centre until there is nothing more to tell.
func (m *outpost) step() {
	m.t.Helper()
	for more := true; more; {
		var err error
		more, err = m.up.Step(m.t.Context(), m.server.releases.Follow)
		check(m.t, err)
	}
}
