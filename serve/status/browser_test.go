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
		e.All.Overview.Series = append(e.All.Overview.Series, view.Point{At: start.Add(time.Duration(i) * 15 * time.Minute),
			Release: 1042, Hosts: hosts, Total: 100214})
	}
	e.All.Overview.Verdict.Code, e.All.Overview.Verdict.Title = view.VerdictHalted, "Halted at broad"
	for _, s := range hosts.States() {
		e.Page.Facets.State = append(e.Page.Facets.State, view.Count{Value: string(s), Hosts: 1000})
	}
	return e
}

func TestThePagesInABrowser(t *testing.T) {
	d := newDesk(t)
	e := eventful()
	d.data = e
	d.sessions = NewSealed(nil) // by the clock of the browser
	d.now = time.Now
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/test/off":
			e.All.Overview.Off, e.All.Overview.Trouble = true, "Timestamp 2319 is signed by a key that the root does not name."
		case strings.HasPrefix(r.URL.Path, "/test/"):
			t.Errorf("%s", r.URL)
		default:
			d.Serve(w, r)
		}
	}))
	defer server.Close()
	h := e.All.Host.Name
	browsertest.Run(t, server.URL, server.Certificate(), signInScript+
		everywhere("overview", "/")+
		everywhere("hosts", "/hosts?q=web&ring=broad")+
		everywhere("host", "/hosts/"+h)+
		everywhere("releases", "/releases")+
		everywhere("release", "/releases/1042")+
		everywhere("package", "/packages/"+e.All.Package.SHA256.Hex()))
}
