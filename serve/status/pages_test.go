package status

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

const password = "correct horse"

// noon is when these tests take place.
var noon = time.Date(2026, 11, 28, 16, 58, 4, 0, time.UTC)

// people are users as a server has them. A wait is told to everybody.
type people struct {
	users map[string]schema.User
	wait  time.Duration

	sessions []string // that began
}

func (p *people) Check(_ context.Context, _, name, given string) (schema.User, bool, time.Duration) {
	u, ok := p.users[name]
	return u, ok && given == password && p.wait == 0, p.wait
}

func (p *people) SignedIn(_ context.Context, _, name string) { p.sessions = append(p.sessions, name) }

func (p *people) User(name string) (schema.User, bool) {
	u, ok := p.users[name]
	return u, ok
}

func may(hosts ...string) schema.User {
	return schema.User{Hash: "a hash", Permissions: map[string][]string{schema.PermView: hosts}}
}

// desk is pages under test, and whoever asks for them.
type desk struct {
	*Pages
	t      testing.TB
	people *people
	clock  time.Time
	cookie string
}

func newDesk(t testing.TB) *desk {
	d := &desk{t: t, clock: noon, people: &people{users: map[string]schema.User{
		"mia": may("~.*"), "web": may("~web.*"), "installer": {Hash: "a hash"},
	}}}
	now := func() time.Time { return d.clock }
	sessions := NewSealed(nil)
	sessions.now = now
	d.Pages = New(Options{Users: d.people, Data: testData(), Sessions: sessions, Now: now})
	return d
}

func (d *desk) ask(method, target, body string, headers ...string) *http.Response {
	d.t.Helper()
	r := httptest.NewRequest(method, "https://bakehouse.example"+target, strings.NewReader(body))
	if d.cookie != "" {
		r.Header.Set("Cookie", cookieName+"="+d.cookie)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.Serve(w, r)
	res := w.Result()
	if got := res.Header.Get("Content-Security-Policy"); got != contentSecurity {
		d.t.Errorf("%s %s: policy %q", method, target, got)
	}
	for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy",
		"Cross-Origin-Resource-Policy"} {
		if res.Header.Get(name) == "" {
			d.t.Errorf("%s %s: no %s", method, target, name)
		}
	}
	return res
}

func (d *desk) get(target string, headers ...string) *http.Response {
	d.t.Helper()
	return d.ask(http.MethodGet, target, "", headers...)
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(b.String(), "\r\n\r\n")
	return body
}

// post sends a form as a page of this server does.
func (d *desk) post(target string, form url.Values, headers ...string) *http.Response {
	d.t.Helper()
	headers = append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)
	return d.ask(http.MethodPost, target, form.Encode(), headers...)
}

// in signs somebody in.
func (d *desk) in(user string) *desk {
	d.t.Helper()
	r := d.post(signInPath, url.Values{"user": {user}, "password": {password}})
	if r.StatusCode != http.StatusSeeOther || len(r.Cookies()) != 1 {
		d.t.Fatalf("sign in: %d %v %s", r.StatusCode, r.Header, text(d.t, r))
	}
	d.cookie = r.Cookies()[0].Value
	return d
}

func want(t testing.TB, r *http.Response, status int, parts ...string) string {
	t.Helper()
	body := text(t, r)
	if r.StatusCode != status {
		t.Fatalf("%d %v, want %d: %s", r.StatusCode, r.Header, status, body)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("%q is not in %s", part, body)
		}
	}
	return body
}

// "/" was {"error":"not found"}.
func TestTheFirstPageOfAServerIsTheSignInPage(t *testing.T) {
	d := newDesk(t)
	body := want(t, d.get("/"), 200, "<h1>Sign in to harbour</h1>", `action="/sign-in"`, `type="password"`)
	if strings.Contains(body, "bakehouse 1.") || strings.Contains(body, "Overview") {
		t.Errorf("a stranger learns too much: %s", body)
	}
	r := d.get("/hosts?q=web&state=failed")
	want(t, r, 303)
	if got := r.Header.Get("Location"); got != "/sign-in?next=%2Fhosts%3Fq%3Dweb%26state%3Dfailed" {
		t.Errorf("location %q", got)
	}
	want(t, d.get(r.Header.Get("Location")), 200, `name="next" value="/hosts?q=web&amp;state=failed"`)
	r = d.post(signInPath, url.Values{"user": {"mia"}, "password": {password}, "next": {"/hosts?q=web"}})
	if r.StatusCode != 303 || r.Header.Get("Location") != "/hosts?q=web" {
		t.Errorf("%d to %q", r.StatusCode, r.Header.Get("Location"))
	}
}

func TestASessionsCookieIsForThisHostAndItsRequestsOnlyAndEndsAfterTwelveHours(t *testing.T) {
	d := newDesk(t)
	r := d.post(signInPath, url.Values{"user": {"mia"}, "password": {password}})
	c := r.Cookies()[0]
	if c.Name != "__Host-bakehouse" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode ||
		c.Path != "/" || c.Domain != "" || c.MaxAge != 12*60*60 {
		t.Errorf("cookie %+v", c)
	}
	d.cookie = c.Value
	want(t, d.get("/"), 200, "Sign out")
	d.clock = noon.Add(12*time.Hour - time.Second)
	want(t, d.get("/"), 200, "Sign out")
	d.clock = noon.Add(12 * time.Hour)
	want(t, d.get("/"), 200, "Sign in")
}

func TestASignedOutSessionIsOver(t *testing.T) {
	d := newDesk(t).in("mia")
	r := d.post(signOutPath, nil)
	if r.StatusCode != 303 || r.Header.Get("Location") != "/" || r.Cookies()[0].MaxAge >= 0 {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	want(t, d.get("/"), 200, "Sign in") // with the cookie that somebody kept
}

func TestASessionEndsWithItsUserThePermissionAndThePassword(t *testing.T) {
	for what, change := range map[string]func(map[string]schema.User){
		"user":       func(u map[string]schema.User) { delete(u, "mia") },
		"permission": func(u map[string]schema.User) { u["mia"] = schema.User{Hash: u["mia"].Hash} },
		"password": func(u map[string]schema.User) {
			mia := may("~.*")
			mia.Hash = "another"
			u["mia"] = mia
		},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t).in("mia")
			want(t, d.get("/"), 200, "Sign out")
			change(d.people.users)
			want(t, d.get("/"), 200, "Sign in")
		})
	}
}

func TestAnAlteredCookieIsNobody(t *testing.T) {
	d := newDesk(t).in("mia")
	good := d.cookie
	for i := range good {
		changed := []byte(good)
		if changed[i] ^= 1; changed[i] == '"' || changed[i] == ';' {
			continue
		}
		if _, ok := d.sessions.Find(string(changed)); ok {
			t.Errorf("with character %d changed it still counts", i)
		}
	}
	for _, c := range []string{"", ".", good + ".", good[:len(good)-1], strings.Replace(good, ".", "", 1)} {
		if _, ok := d.sessions.Find(c); ok {
			t.Errorf("%q counts", c)
		}
	}
	if _, ok := NewSealed(nil).Find(good); ok {
		t.Error("another server's key accepts it")
	}
}

func TestServersWithOneKeyAcceptEachOthersSessions(t *testing.T) {
	key := []byte("01234567890123456789012345678901")
	token, err := NewSealed(key).Open(Session{User: "mia", Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := NewSealed(key).Find(token); !ok || s.User != "mia" {
		t.Errorf("%v %v", s, ok)
	}
}

func TestAnUnknownUserAndAWrongPasswordAreAnsweredAlike(t *testing.T) {
	d := newDesk(t)
	answer := func(user, password string) string {
		r := d.post(signInPath, url.Values{"user": {user}, "password": {password}})
		r.Header.Del("Content-Length") // the name is in the form again
		return fmt.Sprint(r.StatusCode, r.Header) + strings.ReplaceAll(text(t, r), `value="`+user+`"`, `value=""`)
	}
	wrong := answer("mia", "wrong")
	if !strings.Contains(wrong, "The name or the password is wrong") {
		t.Errorf("%s", wrong)
	}
	for _, user := range []string{"ghost", "", "no name\x00", strings.Repeat("a", 5000)} {
		if got := answer(user, "wrong"); got != wrong {
			t.Errorf("%.20q is told apart:\n%s\n%s", user, got, wrong)
		}
	}
}

func TestWhoMayNotViewIsToldWhatIsMissing(t *testing.T) {
	d := newDesk(t)
	r := d.post(signInPath, url.Values{"user": {"installer"}, "password": {password}})
	want(t, r, 403, "installer may not see these pages", "--permission view")
	if len(r.Cookies()) != 0 {
		t.Error("it got a session")
	}
}

func TestTooManyTriesAreToldWhenToComeAgain(t *testing.T) {
	d := newDesk(t)
	d.people.wait = 7500 * time.Millisecond
	r := d.post(signInPath, url.Values{"user": {"mia"}, "password": {password}})
	want(t, r, 429, "Try again in 8 s")
	if got := r.Header.Get("Retry-After"); got != "8" {
		t.Errorf("Retry-After %q", got)
	}
}

// A foreign page can send a form here, with the cookie of whoever looks at it.
func TestAFormOfAForeignPageIsRefused(t *testing.T) {
	form := url.Values{"user": {"mia"}, "password": {password}}.Encode()
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
		{"Origin", "https://bakehouse.example:444"},
		{"Sec-Fetch-Site", "cross-site", "Origin", "https://bakehouse.example"},
		{},
	} {
		d := newDesk(t).in("mia")
		want(t, d.ask("POST", signOutPath, "x=1", headers...), 403, "did not come from a page of this server")
		want(t, d.get("/"), 200, "Sign out")
		d.cookie = ""
		if r := d.ask("POST", signInPath, form, headers...); r.StatusCode != 403 || len(r.Cookies()) != 0 {
			t.Errorf("%v: %d %v", headers, r.StatusCode, r.Header)
		}
	}
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, // browsers, as our pages send no referrer
		{"Origin", "https://bakehouse.example"},
	} {
		if r := newDesk(t).ask("POST", signInPath, form, headers...); r.StatusCode != 303 {
			t.Errorf("%v: %d %s", headers, r.StatusCode, text(t, r))
		}
	}
}

func TestSigningInLeadsToNoOtherServer(t *testing.T) {
	for _, next := range []string{"https://evil.example/", "//evil.example/", `/\evil.example/`, `\\evil.example`,
		"evil", "/\t/evil.example", "javascript:alert(1)", " //evil.example", "///evil.example", "/sign-out",
		"http:/evil.example", "", "/%"} {
		d := newDesk(t)
		r := d.post(signInPath, url.Values{"user": {"mia"}, "password": {password}, "next": {next}})
		if got := r.Header.Get("Location"); r.StatusCode != 303 || got != "/" {
			t.Errorf("%q leads to %q (%d)", next, got, r.StatusCode)
		}
		d.in("mia")
		if got := d.get(signInPath + "?next=" + url.QueryEscape(next)).Header.Get("Location"); got != "/" {
			t.Errorf("%q of the URL leads to %q", next, got)
		}
	}
}

func TestAFormIsBounded(t *testing.T) {
	d := newDesk(t)
	want(t, d.post(signInPath, url.Values{"user": {strings.Repeat("a", maxForm)}}), 413)
	want(t, d.ask("POST", signInPath, "%", "Sec-Fetch-Site", "same-origin"), 400)
}

func TestAssetsMayBeKeptForGoodUnderTheirContentsHash(t *testing.T) {
	d := newDesk(t)
	page := want(t, d.get("/"), 200)
	found := regexp.MustCompile(`"(/assets/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(found) != 3 {
		t.Fatalf("assets %v", found)
	}
	for _, f := range found {
		r := d.get(f[1])
		body := want(t, r, 200)
		if got := r.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("%s: %q", f[1], got)
		}
		if hash := schema.DigestOf([]byte(body)).Short(); !strings.Contains(f[1], "."+hash+".") {
			t.Errorf("%s has the hash %s", f[1], hash)
		}
		z := d.get(f[1], "Accept-Encoding", "gzip, br")
		if z.Header.Get("Content-Encoding") != "gzip" && len(body) > leastZipped {
			t.Errorf("%s is not compressed: %v", f[1], z.Header)
		}
	}
	want(t, d.get("/assets/style.css"), 404)
}
