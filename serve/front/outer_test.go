package front

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Behind a proxy or a mapped port, hosts reach the server at another port than it listens on.
func TestARedirectGoesToThePortAtWhichHostsReachTheServer(t *testing.T) {
	outer := func(host string) string {
		if host == "bakehouse.example" {
			return "443"
		}
		return "8443"
	}
	h := Plain(nil, func(*http.Request) bool { return false }, outer, http.NotFoundHandler())
	for host, want := range map[string]string{
		"bakehouse.example":      "https://bakehouse.example/x?y=1",
		"bakehouse.example:8080": "https://bakehouse.example/x?y=1",
		"other.example":          "https://other.example:8443/x?y=1",
		"[2001:db8::1]:80":       "https://[2001:db8::1]:8443/x?y=1",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://"+host+"/x?y=1", nil))
		if got := w.Header().Get("Location"); w.Code != http.StatusPermanentRedirect || got != want {
			t.Errorf("%s: %d to %s, want %s", host, w.Code, got, want)
		}
	}
}
