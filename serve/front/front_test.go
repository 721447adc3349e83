package front

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bakehouse/schema/fault"
)

func proxies(t *testing.T, list ...string) Proxies {
	t.Helper()
	p, err := Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sees is the address that a handler sees of a request from remote with these X-Forwarded-For.
func sees(p Proxies, remote string, forwarded ...string) (got string) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = remote
	for _, f := range forwarded {
		r.Header.Add("X-Forwarded-For", f)
	}
	p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr })).ServeHTTP(
		httptest.NewRecorder(), r)
	return got
}

func TestNobodyButATrustedProxySaysWhoAsks(t *testing.T) {
	p := proxies(t, "10.0.0.0/24", "2001:db8::1")
	for name, c := range map[string]struct {
		proxies   Proxies
		remote    string
		forwarded []string
		want      string
	}{
		"off by default":              {nil, "10.0.0.1:5", []string{"192.0.2.1"}, "10.0.0.1:5"},
		"a stranger who lies":         {p, "192.0.2.9:5", []string{"192.0.2.1"}, "192.0.2.9:5"},
		"a proxy":                     {p, "10.0.0.1:5", []string{"192.0.2.1"}, "192.0.2.1:0"},
		"a proxy asked by a liar":     {p, "10.0.0.1:5", []string{"198.51.100.1, 192.0.2.1"}, "192.0.2.1:0"},
		"a liar with another header":  {p, "10.0.0.1:5", []string{"198.51.100.1", "192.0.2.1"}, "192.0.2.1:0"},
		"a chain of proxies":          {p, "10.0.0.1:5", []string{"192.0.2.1, 10.0.0.2"}, "192.0.2.1:0"},
		"one that says nothing":       {p, "10.0.0.1:5", nil, "10.0.0.1:5"},
		"nonsense":                    {p, "10.0.0.1:5", []string{"192.0.2.1, x"}, "10.0.0.1:5"},
		"IPv6":                        {p, "[2001:db8::1]:5", []string{"2001:db8::9"}, "[2001:db8::9]:0"},
		"IPv4 in IPv6, and with port": {p, "[::ffff:10.0.0.1]:5", []string{"192.0.2.1:99"}, "192.0.2.1:0"},
	} {
		if got := sees(c.proxies, c.remote, c.forwarded...); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	for _, wrong := range []string{"", "proxy", "0.0.0.0/0", "::/0", "10.0.0.0/33"} {
		if _, err := Parse([]string{wrong}); err == nil || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestPlainHTTPNeverTakesCredentialsButFromATrustedProxyThatWasAskedOverHTTPS(t *testing.T) {
	none, basic, cookie := [2]string{}, [2]string{"Authorization", "Basic x"}, [2]string{"Cookie", "x=y"}
	const seen = "others can read them"
	open := func(r *http.Request) bool { return r.URL.Path == "/healthz" }
	for name, c := range map[string]struct {
		method, url, remote string
		header              [2]string
		proto               string
		status              int
		text                string
	}{
		"what anybody may read": {"GET", "/healthz", "192.0.2.1:5", none, "", 200, "served"},
		"a page": {"GET", "/hosts?q=a%20b", "192.0.2.1:5", none, "", 308,
			"https://example.com:8443/hosts?q=a%20b"},
		"a post":                {"POST", "/healthz", "192.0.2.1:5", none, "", 403, "HTTPS only"},
		"a password":            {"GET", "/healthz", "192.0.2.1:5", basic, "", 403, seen},
		"a session":             {"GET", "/healthz", "192.0.2.1:5", cookie, "", 403, seen},
		"a password to a liar":  {"POST", "/x", "192.0.2.1:5", basic, "https", 403, seen},
		"a proxy's, over HTTPS": {"POST", "/x", "10.0.0.1:5", basic, "https", 200, "served"},
		"a proxy's, over HTTP":  {"POST", "/x", "10.0.0.1:5", basic, "http", 403, seen},
		"a proxy's own":         {"POST", "/x", "10.0.0.1:5", basic, "", 403, seen},
	} {
		outer := func(string) string { return "8443" }
		served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("served")) })
		h := Plain(proxies(t, "10.0.0.1"), open, outer, served)
		r := httptest.NewRequest(c.method, "http://example.com:8080"+c.url, nil)
		r.RemoteAddr = c.remote
		if c.header[0] != "" {
			r.Header.Set(c.header[0], c.header[1])
		}
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String()+w.Header().Get("Location"), c.text) {
			t.Errorf("%s: %d %s %v", name, w.Code, w.Body, w.Header())
		}
	}
}
