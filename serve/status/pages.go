package status

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/plain"
	"bakehouse/serve/view"
)

// Users are who may sign in.
type Users interface {
	// Check compares a password with the user's. It says the same of an unknown user as of a wrong password; with a
	// wait, nothing was compared.
	Check(ctx context.Context, address, name, password string) (u schema.User, ok bool, wait time.Duration)
	// SignedIn notes that a session began.
	SignedIn(ctx context.Context, address, name string)
	// User is what somebody may do now.
	User(name string) (u schema.User, ok bool)
}

// Data is what the pages show. What u may not see (schema.PermView, by the host) is not there, in counts neither; an
// answer that is not there is fs.ErrNotExist, and a query that is not understood is ErrQuery.
type Data interface {
	Fleet() string // its name
	Overview(ctx context.Context, u schema.User) (*view.Overview, error)
	Hosts(ctx context.Context, u schema.User, q url.Values) (*view.HostsPage, error)
	Host(ctx context.Context, u schema.User, name string) (*view.Host, error)
	Releases(ctx context.Context, u schema.User, q url.Values) (*view.Releases, error)
	Release(ctx context.Context, u schema.User, number int64) (*view.Release, error)
	// Package is by its SHA-256, or the start of it.
	Package(ctx context.Context, u schema.User, hash string) (*view.Package, error)
}

// ErrQuery is a query that is not understood; an error that wraps it says what of it.
var ErrQuery = errors.New("the query is not understood")

// ErrLoading is that there is no answer yet.
var ErrLoading = errors.New("the states of the hosts are being read")

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
	again    int // seconds after which the overview asks whether it changed
}

// New makes the pages.
func New(o Options) *Pages {
	p := &Pages{users: o.Users, data: o.Data, sessions: o.Sessions, log: o.Log, now: o.Now, again: 30}
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
	"GET /status.json", "GET /hosts", "GET /hosts.json", "GET /hosts.csv", "GET /hosts/{name}", "GET /releases",
	"GET /releases.json", "GET /releases/{number}", "GET /packages/{hash}",
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
	if path, json := strings.CutSuffix(r.URL.Path, ".json"); json {
		return p.serveTwin(w, r, path)
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
	case r.URL.Path == "/hosts.csv":
		p.serveCSV(w, r, u)
	default:
		p.show(w, r, name, u)
	}
	return name
}

// Who is the user whose session a request has.
func (p *Pages) Who(r *http.Request) (name string, u schema.User, ok bool) { return p.session(r) }

// show answers with the page of a URL.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, name string, u schema.User) {
	v, err := p.ask(r, u, r.URL.Path)
	if err != nil {
		p.sayError(w, r, err)
		return
	}
	template, page := p.pageOf(v, u)
	f := page.common()
	f.User = name
	f.Twin = twinOf(r.URL)
	b, err := render(template, page)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	answerTagged(w, r, b)
}

// ask is what a path shows: a struct of package view.
func (p *Pages) ask(r *http.Request, u schema.User, path string) (any, error) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case path == "/" || path == "/status":
		return p.data.Overview(r.Context(), u)
	case path == hostsPath:
		return p.data.Hosts(r.Context(), u, r.URL.Query())
	case first == "hosts":
		return p.data.Host(r.Context(), u, rest)
	case path == "/releases":
		return p.data.Releases(r.Context(), u, r.URL.Query())
	case first == "releases":
		n, err := strconv.ParseInt(rest, 10, 64)
		if err != nil || n <= 0 || strconv.FormatInt(n, 10) != rest {
			return nil, fs.ErrNotExist
		}
		return p.data.Release(r.Context(), u, n)
	case first == "packages":
		return p.data.Package(r.Context(), u, rest)
	}
	return nil, fs.ErrNotExist
}

// twinOf is the URL of a page's JSON.
func twinOf(u *url.URL) string {
	twin := url.URL{Path: u.Path + ".json", RawQuery: u.RawQuery}
	if u.Path == "/" {
		twin.Path = "/status.json"
	}
	return twin.RequestURI()
}

// sayError answers with why there is no page.
func (p *Pages) sayError(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.say(w, r, http.StatusNotFound, "There is no such page", "It was never there, or is not for you to see.")
	case errors.Is(err, ErrQuery):
		p.say(w, r, http.StatusBadRequest, "This address is not understood", plain.Line(err.Error(), plain.MaxName))
	case errors.Is(err, ErrLoading):
		w.Header().Set("Retry-After", "2")
		p.say(w, r, http.StatusServiceUnavailable, "The states of the hosts are being read",
			"This takes some seconds after a start of the server.")
	default:
		p.broken(w, r, err)
	}
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
var templates = parseTemplates("signin", "message", "overview", "hosts", "host", "releases", "release", "package")

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
