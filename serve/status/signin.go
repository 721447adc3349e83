package status

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/limit"
)

const (
	signInPath  = "/sign-in"
	signOutPath = "/sign-out"
	cookieName  = "__Host-bakehouse"
	maxForm     = 8 << 10
)

// signInPage is what the template gets.
type signInPage struct {
	frame
	Name   string // as given
	Next   string // where to go on
	Wrong  bool
	Wait   int    // seconds to wait; 0: none
	Denied string // the user who may view nothing
	Host   string
}

// showSignIn answers with the form. It is the same whether or not a user exists, and tells no version.
func (p *Pages) showSignIn(w http.ResponseWriter, r *http.Request, status int, s signInPage) {
	s.frame = frame{Title: "Sign in", Fleet: p.data.Fleet(), Now: p.now()}
	s.Host = r.Host
	b, err := render("signin", &s)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", cacheNever)
	write(w, r, status, b, nil)
}

// sameOrigin reports whether a page of this server sent a POST. Browsers say where one comes from, each in one of two
// headers at least; what says nothing is no browser, and can send the password with its requests instead.
func sameOrigin(r *http.Request) bool {
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		return false
	}
	return http.NewCrossOriginProtection().Check(r) == nil
}

// signIn checks a name and a password.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) (who string) {
	if !p.readForm(w, r) {
		return ""
	}
	name, password := r.PostFormValue("user"), r.PostFormValue("password")
	page := signInPage{Name: name, Next: local(r.PostFormValue("next"))}
	if schema.CheckName(name) != nil || password == "" {
		page.Name, page.Wrong = "", true
		p.showSignIn(w, r, http.StatusForbidden, page)
		return ""
	}
	u, ok, wait := p.users.Check(r.Context(), limit.Address(r.RemoteAddr), name, password)
	switch {
	case wait > 0:
		page.Wait = int(math.Ceil(wait.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(page.Wait))
		p.showSignIn(w, r, http.StatusTooManyRequests, page)
		return ""
	case !ok:
		page.Wrong = true
		p.showSignIn(w, r, http.StatusForbidden, page)
		return ""
	case len(u.Permissions[schema.PermView]) == 0:
		page.Denied = name
		p.showSignIn(w, r, http.StatusForbidden, page)
		return name
	}
	until := p.now().Add(sessionTime)
	token, err := p.sessions.Open(Session{User: name, Credential: credentialOf(u), Until: until})
	if err != nil {
		p.broken(w, r, err)
		return name
	}
	setCookie(w, token, sessionTime)
	p.users.SignedIn(r.Context(), limit.Address(r.RemoteAddr), name)
	p.log.Info("signed in", "user", name, "address", r.RemoteAddr)
	seeOther(w, page.Next)
	return name
}

// signOut ends the session of whoever asks.
func (p *Pages) signOut(w http.ResponseWriter, r *http.Request) (who string) {
	if !p.readForm(w, r) {
		return ""
	}
	if c, err := r.Cookie(cookieName); err == nil {
		if s, ok := p.sessions.Find(c.Value); ok {
			who = s.User
			p.log.Info("signed out", "user", who, "address", r.RemoteAddr)
		}
		p.sessions.End(c.Value)
	}
	setCookie(w, "", -time.Second)
	seeOther(w, "/")
	return who
}

// readForm reads what a page of this server sent, or answers and returns false.
func (p *Pages) readForm(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Cache-Control", cacheNever)
	if !sameOrigin(r) {
		p.say(w, r, http.StatusForbidden, "This did not come from a page of this server",
			"Open this server's own page and sign in there.")
		return false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		p.say(w, r, status, "The form could not be read", "Go back and try again.")
		return false
	}
	return true
}

func setCookie(w http.ResponseWriter, token string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
}

func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// session is whom the request's cookie names, with what that user may do now.
func (p *Pages) session(r *http.Request) (name string, u schema.User, ok bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return "", schema.User{}, false
	}
	s, ok := p.sessions.Find(c.Value)
	if !ok {
		return "", schema.User{}, false
	}
	u, ok = p.users.User(s.User)
	if !ok || credentialOf(u) != s.Credential || len(u.Permissions[schema.PermView]) == 0 {
		return "", schema.User{}, false
	}
	return s.User, u, true
}

// credentialOf changes with a user's password.
func credentialOf(u schema.User) string { return schema.DigestOf([]byte(u.Hash)).Short() }

// local is where a page of this server is, from what a form or URL says; "/" for anything else. Browsers take a
// backslash for a slash, and leave out control characters.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" ||
		!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") ||
		strings.ContainsFunc(to, func(r rune) bool { return r == '\\' || r < ' ' || r == 0x7f }) {
		return "/"
	}
	if u.Path == signInPath || u.Path == signOutPath {
		return "/"
	}
	return u.RequestURI()
}
