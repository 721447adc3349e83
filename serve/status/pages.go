package status

import (
	"bytes"
	"context"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"bakehouse/schema"
)

// Users are who may sign in.
type Users interface {
	// Check compares a password with the user's. It says the same of an unknown user as of a wrong password; with a
	// wait, nothing was compared.
	Check(ctx context.Context, address, name, password string) (u schema.User, ok bool, wait time.Duration)
	// User is what somebody may do now.
	User(name string) (u schema.User, ok bool)
}

// Data is what the pages show.
type Data interface {
	Fleet() string // its name
}

// Options of the pages. Users and Data must be given.
type Options struct {
	Users    Users
	Data     Data
	Sessions Sessions // nil: sessions that end with the process
	Log      *slog.Logger
	Now      func() time.Time // nil: the clock
}

// Pages answers people. Make it with New.
type Pages struct {
	users    Users
	data     Data
	sessions Sessions
	log      *slog.Logger
	now      func() time.Time
}

// New makes the pages.
func New(o Options) *Pages {
	p := &Pages{users: o.Users, data: o.Data, sessions: o.Sessions, log: o.Log, now: o.Now}
	if p.sessions == nil {
		p.sessions = NewSealed(nil)
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	return p
}

// Patterns are those of http.ServeMux for which a server asks Serve.
var Patterns = []string{
	"GET /{$}", "GET " + signInPath, "POST " + signInPath, "POST " + signOutPath, "GET " + assetPath,
}

// Serve answers, and says who asked, if somebody is signed in.
func (p *Pages) Serve(w http.ResponseWriter, r *http.Request) (who string) {
	protect(w.Header())
	switch {
	case strings.HasPrefix(r.URL.Path, assetPath):
		if !serveAsset(w, r) {
			p.say(w, r, http.StatusNotFound, "There is no such file", "")
		}
		return ""
	case r.Method == http.MethodPost && r.URL.Path == signInPath:
		return p.signIn(w, r)
	case r.Method == http.MethodPost && r.URL.Path == signOutPath:
		return p.signOut(w, r)
	}
	name, u, ok := p.session(r)
	switch {
	case !ok && (r.URL.Path == "/" || r.URL.Path == signInPath):
		p.showSignIn(w, r, http.StatusOK, signInPage{Next: local(r.URL.Query().Get("next"))})
	case !ok:
		w.Header().Set("Cache-Control", cacheNever)
		seeOther(w, signInPath+"?next="+template.URLQueryEscaper(r.URL.RequestURI()))
	case r.URL.Path == signInPath:
		seeOther(w, local(r.URL.Query().Get("next")))
	default:
		p.show(w, r, name, u)
	}
	return name
}

// show answers with the page of a URL.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, name string, u schema.User) {
	if r.URL.Path != "/" {
		p.say(w, r, http.StatusNotFound, "There is no such page", "")
		return
	}
	p.say(w, r, http.StatusOK, "You are signed in to "+p.data.Fleet(), "What there is to see comes here.")
}

// frame is what every page has around its own part.
type frame struct {
	Title string
	Fleet string
	User  string // signed in
	Tab   string // overview, hosts, releases
	Now   time.Time
	Twin  string // URL of the same as JSON
	// OwnSearch is a page that has a search of its own.
	OwnSearch bool
	Index     int64  // version of the signed timestamp
	Program   string // version of this server, for those who are signed in
}

// message is a page that says one thing.
type message struct {
	frame
	Text, Hint string
}

// say answers with a page that says what is wrong, or, for what no browser asked, with the same as JSON.
func (p *Pages) say(w http.ResponseWriter, r *http.Request, status int, text, hint string) {
	m := message{Text: text, Hint: hint,
		frame: frame{Title: text, Fleet: p.data.Fleet(), Now: p.now()}}
	if name, _, ok := p.session(r); ok {
		m.User = name
	}
	b, err := render("message", &m)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", cacheNever)
	write(w, r, status, b, nil)
}

// broken answers when a page cannot be made; why is in the log only.
func (p *Pages) broken(w http.ResponseWriter, r *http.Request, err error) {
	p.log.Error("page", "path", r.URL.Path, "error", err)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", cacheNever)
	w.Header().Set("Retry-After", "60")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte("This page cannot be made now. The server's log says why.\n"))
}

// templates are the pages by the names of their files in web/.
var templates = parseTemplates("signin", "message")

func parseTemplates(names ...string) map[string]*template.Template {
	base := template.Must(template.New("").Funcs(functions).ParseFS(web, "web/base.html"))
	parsed := map[string]*template.Template{}
	for _, name := range names {
		parsed[name] = template.Must(template.Must(base.Clone()).ParseFS(web, "web/"+name+".html"))
	}
	return parsed
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// render executes a page's template. The page is whole before its first byte is sent.
func render(name string, data any) ([]byte, error) {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if err := templates[name].ExecuteTemplate(b, name+".html", data); err != nil {
		return nil, err
	}
	return bytes.Clone(b.Bytes()), nil
}
