package serve

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"bakehouse/schema"
)

func TestPlainHTTPIsSentToHTTPSAndTakesNoPassword(t *testing.T) {
	f, _ := standardFleet(t)
	url, _, _, log := program(t, "serve", "--store", f.dir, "--tls-self-signed", t.TempDir(), "--listen", "127.0.0.1:0",
		"--listen-http", "127.0.0.1:0", "--database", t.TempDir()+"/inventory.db")
	log.wait(t, "listening for plain HTTP")
	plain := "http://" + regexp.MustCompile(`plain HTTP" address=(\S+)`).FindStringSubmatch(log.String())[1]
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path string, user bool, status int) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, plain+path, strings.NewReader("{}"))
		check(t, err)
		if user {
			r.SetBasicAuth("installer", password)
		}
		res, err := client.Do(r)
		check(t, err)
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%s %s: %d, want %d", method, path, res.StatusCode, status)
		}
		return res
	}
	ask(http.MethodGet, schema.HealthPath, false, http.StatusOK)
	ask(http.MethodGet, schema.MetadataPath+"timestamp.json", false, http.StatusOK)
	ask(http.MethodPost, schema.RegisterPath, true, http.StatusForbidden)
	ask(http.MethodGet, schema.PackagePath+"web01", true, http.StatusForbidden)
	res := ask(http.MethodGet, "/hosts?q=web", false, http.StatusPermanentRedirect)
	if got := res.Header.Get("Location"); got != url+"/hosts?q=web" {
		t.Errorf("sent to %s, want %s", got, url)
	}
}
