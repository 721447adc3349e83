package status

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"bakehouse/serve/hosts"
	"bakehouse/serve/status/browsertest"
	"bakehouse/serve/view"
)

const signInScript = `
size 1440
theme light
open /
wait h1 Sign
axe
fits
shot signin-1440-light
size 320
fits
axe
size 1440
click #user
type mia
click #password
type correct horse
press Enter
wait .tally Unregistered
`

// everywhere looks at a page in both themes, large and small.
func everywhere(name, path string) string {
	var b strings.Builder
	for _, line := range []string{"open " + path, "size 1440", "theme light", "wait footer JSON", "fits", "axe",
		"shot " + name + "-1440-light", "theme dark", "axe", "shot " + name + "-1440-dark", "size 360", "fits", "axe",
		"shot " + name + "-360-dark", "theme light", "axe", "shot " + name + "-360-light", "size 320", "fits",
		"size 820", "fits", "size 1080", "fits"} {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// eventful is the example with what seldom happens, and all that a page can have.
func eventful() *example {
	e := testData()
	start := e.All.Overview.At.Add(-25 * time.Hour)
	for i := range 100 {
		hosts := 712
		if i > 16 {
			hosts = 5673
		}
		if i > 48 {
			hosts = 71882 - (100-i)*(100-i)*20
		}
		e.All.Overview.Series = append(e.All.Overview.Series, view.Point{Release: 1042, Hosts: hosts, Total: 100214,
			At: start.Add(time.Duration(i) * 15 * time.Minute)})
	}
	e.All.Overview.Verdict.Code, e.All.Overview.Verdict.Title = view.VerdictHalted, "Halted at broad"
	for _, s := range hosts.States() {
		e.Page.Facets.State = append(e.Page.Facets.State, view.Count{Value: string(s), Hosts: 1000})
	}
	return e
}

// keyboardScript is SPEC's map of keys.
const keyboardScript = `
size 1440
theme light
open /hosts
wait .hosts web0200
press j
focus .hosts tbody tr:nth-child(1) a
press j
focus .hosts tbody tr:nth-child(2) a
press k
focus .hosts tbody tr:nth-child(1) a
press /
focus #q
type jjt
press Escape
focus body
press t
wait html.exact Hosts
press t
gone html.exact
press ?
focus dialog[open] button
press Escape
gone dialog[open]
press g
press r
at /releases
press j
focus tbody tr:nth-child(1) a
press Enter
at /releases/1042
press /
focus #seek
type web
press Enter
at /hosts?q=web
press n
at /hosts?q=web&ring=broad&after=
press g
press o
at /
click .me summary
click #keys
press Escape
press g
press h
focus .me summary
at /
click .me summary
click #keys
wait .cmd Copy
open /hosts
press Enter
click .chips .menu summary
wait details[open] canary
press Escape
gone .chips details[open]
click .me summary
click .me form button
wait h1 Sign
at /
`

// browse serves pages to a browser, which does what a script says.
func browse(t *testing.T, d *desk, script string, before func(*http.Request)) {
	t.Helper()
	d.sessions, d.now = NewSealed(nil), time.Now // a browser has the clock of the machine
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before(r)
		d.Serve(w, r)
	}))
	defer server.Close()
	browsertest.Run(t, server.URL, server.Certificate(), signInScript+script)
}

func TestThePagesInABrowser(t *testing.T) {
	d := newDesk(t)
	e := eventful()
	d.data = e
	browse(t, d, everywhere("overview", "/")+
		everywhere("hosts", "/hosts?q=web&ring=broad")+
		everywhere("host", "/hosts/"+e.All.Host.Name)+
		everywhere("releases", "/releases")+
		everywhere("release", "/releases/1042")+
		everywhere("package", "/packages/"+e.All.Package.SHA256.Hex())+keyboardScript, func(*http.Request) {})
}

func TestWhatReplacesThePagesInABrowser(t *testing.T) {
	d := newDesk(t)
	e := eventful()
	d.data = e
	d.again = 1
	seen := 0
	script := "wait h1 99,999\n" + everywhere("off", "/") + everywhere("nothing-found", "/hosts")
	browse(t, d, script, func(r *http.Request) {
		if r.URL.Path != "/" || r.Header.Get("Cookie") == "" {
			return
		}
		// What came with the sign-in is replaced by the page itself.
		if seen++; seen == 2 {
			o := &e.All.Overview
			o.Verdict.Facts = "99,999 of 100,214 hosts are up to date"
			o.Off, o.Trouble = true, "Timestamp 2319 is signed by a key that the root does not name."
			o.Verdict.Code, o.Verdict.Title, o.Attention = view.VerdictOff, "Updates are off", nil
			e.Page.Hosts = nil
		}
	})
}
