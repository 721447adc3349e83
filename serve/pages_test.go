package serve

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
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

func TestAUserOfAccessCUESignsInAndFailuresAreLimitedAsThoseOfRegister(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	jar, err := cookiejar.New(nil)
	check(t, err)
	c := &http.Client{Transport: w.http.Client().Transport, Jar: jar}
	if r := w.get(caller{}, "/"); r.status != 200 || !strings.Contains(string(r.body), "Sign in to acme") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	r := w.post(c, "/sign-in", url.Values{"user": {"mia"}, "password": {password}})
	if !strings.Contains(string(r.body), "Sign out") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if log := w.log.String(); !strings.Contains(log, `"signed in" user=mia`) || strings.Contains(log, password) {
		t.Errorf("log: %s", log)
	}
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
