package serve

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
	"bakehouse/serve/status/browsertest"
)

// post sends a form as a browser does that shows a page of the site.
func (w *site) post(c *http.Client, path string, form url.Values) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.http.URL+path,
		strings.NewReader(form.Encode()))
	check(w.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", w.http.URL)
	return w.read(c, req)
}

// signIn is the client of somebody who signed in.
func (w *site) signIn(user string) *http.Client {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	check(w.t, err)
	c := &http.Client{Transport: w.http.Client().Transport, Jar: jar}
	r := w.post(c, "/sign-in", url.Values{"user": {user}, "password": {password}})
	if !strings.Contains(string(r.body), "Sign out") {
		w.t.Fatalf("%d %s", r.status, r.body)
	}
	return c
}

// page gets a page as a browser does.
func (w *site) page(c *http.Client, path string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.http.URL+path, nil)
	check(w.t, err)
	return w.read(c, req)
}

func TestASessionCountsAtAllServersOfAnInventoryAndAfterARestart(t *testing.T) {
	f, _ := standardFleet(t)
	database := filepath.Join(t.TempDir(), "inventory.db")
	w := startWith(t, f, database, nil)
	c := w.signIn("mia")
	first, err := url.Parse(w.http.URL)
	check(t, err)
	cookies := c.Jar.Cookies(first)
	w.stop()
	w = startWith(t, f, database, nil)
	second, err := url.Parse(w.http.URL)
	check(t, err)
	c.Jar.SetCookies(second, cookies)
	c.Transport = w.http.Client().Transport
	if r := w.page(c, "/hosts"); !strings.Contains(string(r.body), "Sign out") {
		t.Errorf("%d %s", r.status, r.body)
	}
	other := start(t, f)
	third, err := url.Parse(other.http.URL)
	check(t, err)
	c.Jar.SetCookies(third, cookies)
	c.Transport = other.http.Client().Transport
	if r := other.page(c, "/hosts"); !strings.Contains(string(r.body), "Sign in") {
		t.Errorf("a server of another inventory accepts it: %d", r.status)
	}
}

func TestWhoMayDownloadGetsAPackageFromItsHostsPage(t *testing.T) {
	f, packs := standardFleet(t)
	u := f.access.Users["webteam"] // may download web.*
	u.Permissions[schema.PermView] = []string{"~.*"}
	f.publish()
	w := start(t, f)
	c := w.signIn("webteam")
	link := "/hosts/web01/package"
	if r := w.page(c, "/hosts/web01"); !strings.Contains(string(r.body), `href="`+link+`"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.page(c, link); r.status != http.StatusOK || !bytes.Equal(r.body, packs["web01"].bytes) {
		t.Errorf("%d, %d bytes", r.status, len(r.body))
	}
	if r := w.page(w.signIn("mia"), link); r.status != http.StatusNotFound {
		t.Errorf("who may view only: %d", r.status)
	}
	if r := w.get(caller{}, link); r.status != http.StatusNotFound {
		t.Errorf("nobody: %d", r.status)
	}
}

// The whole of it: people look at what `bakehouse serve` knows of a fleet whose canary failed.
func TestPeopleSeeAHaltedRolloutInABrowser(t *testing.T) {
	needs.All(t, "runs a browser")
	f, packs := standardFleet(t)
	f.Policy.Rings = []schema.Ring{{Name: "canary", Halt: &schema.Halt{}},
		{Name: "broad", Gate: &schema.Gate{Healthy: schema.Whole}}}
	next := f.bake("next of all")
	f.give("web01", "canary", 2, next, packs["web01"])
	f.give("web02", "broad", 2, next, packs["web02"])
	for i := range 250 {
		f.give(fmt.Sprintf("db%04d", i), "broad", 2, next, packs["web02"])
	}
	f.publish()
	dir := t.TempDir()
	database := filepath.Join(dir, "inventory.db")
	w := startWith(t, f, database, nil)
	w.runs(f, w.register("web01"), packs["web01"], next, 1, schema.StateFailed, outcome.CodeUnhealthy)
	w.runs(f, w.register("web02"), packs["web02"], packs["web02"], 1, schema.StateCurrent, schema.CodeCurrent)
	w.server.rollout.step(t.Context())
	w.stop()
	url, _, _, _ := program(t, "serve", "--store", f.dir, "--listen", "127.0.0.1:0", "--database", database,
		"--tls-self-signed", filepath.Join(dir, "tls"))
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
	check(t, err)
	served := conn.ConnectionState().PeerCertificates[0]
	check(t, conn.Close())
	browsertest.Run(t, url, served, `
size 1440
theme light
open /
wait h1 Sign
click #user
type mia
click #password
type wrong
expect status of 403
press Enter
wait .note wrong
click #password
type `+password+`
press Enter
wait [data-verdict] Halted
wait .rings Halted
axe
shot serve-overview
press g
press h
at /hosts
wait .hosts web01
shot serve-hosts
click .hosts thead th:first-child a
at /hosts?sort=host
wait tbody>tr:first-child>th db0000
press n
wait tbody>tr:first-child>th db0100
click a[rel=prev]
wait tbody>tr:first-child>th db0000
click .hosts thead th:first-child a
at /hosts?sort=-host
wait tbody>tr:first-child>th web
press /
focus #q
type web01
press Enter
wait .lead match
click .hosts tbody th a
at /hosts/web01
wait h1 web01
wait .verdict Failed
axe
shot serve-host
size 360
axe
fits
theme dark
axe
shot serve-host-360
open /releases
wait .rel 2
axe
size 1440
click .me summary
click .me form button
wait h1 Sign
`)
}

func TestAUserOfAccessCUESignsInAndFailuresAreLimitedAsThoseOfRegister(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	if r := w.get(caller{}, "/"); r.status != 200 || !strings.Contains(string(r.body), "Sign in to acme") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	c := w.signIn("mia")
	if log := w.log.String(); !strings.Contains(log, `"signed in" user=mia`) || strings.Contains(log, password) {
		t.Errorf("log: %s", log)
	}
	var r reply
	for range 20 {
		r = w.post(c, "/sign-in", url.Values{"user": {"webteam"}, "password": {"wrong"}})
	}
	if r.status != http.StatusTooManyRequests {
		t.Errorf("after 20 wrong passwords: %d", r.status)
	}
	r = w.do(caller{"webteam", password}, http.MethodPost, "/v1/register", registration("web01"))
	if r.status != http.StatusTooManyRequests {
		t.Errorf("the same user may register: %d %s", r.status, r.body)
	}
	if r := w.post(c, "/sign-out", nil); !strings.Contains(string(r.body), "Sign in to acme") {
		t.Errorf("signed out: %d %s", r.status, r.body)
	}
}
