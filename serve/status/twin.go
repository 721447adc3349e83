package status

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/plain"
	"bakehouse/serve/limit"
)

// serveTwin answers with what a page shows as JSON: for a session, or a name and a password.
func (p *Pages) serveTwin(w http.ResponseWriter, r *http.Request, path string) (who string) {
	who, u, ok := p.session(r)
	if name, password, given := r.BasicAuth(); given {
		var wait time.Duration
		who, u, ok = "", schema.User{}, false
		if schema.CheckName(name) == nil && password != "" {
			u, ok, wait = p.users.Check(r.Context(), limit.Address(r.RemoteAddr), name, password)
		}
		if wait > 0 {
			seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
			w.Header().Set("Retry-After", seconds)
			problem(w, r, http.StatusTooManyRequests, "too many attempts to log in", "try again in "+seconds+" seconds")
			return ""
		}
		if ok {
			who = name
		}
	}
	switch {
	case !ok:
		w.Header().Set("WWW-Authenticate", `Basic realm="bakehouse"`)
		problem(w, r, http.StatusUnauthorized, "wrong user or password",
			"users are in the config repo (bakehouse access add) and count once reconcile has published them")
		return ""
	case len(u.Permissions[schema.PermView]) == 0:
		problem(w, r, http.StatusForbidden, "user "+who+" lacks the permission view",
			"the user's permissions in the config repo say what it may do, once reconcile has published them")
		return who
	}
	v, err := p.ask(r, u, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problem(w, r, http.StatusNotFound, "not found", "")
	case errors.Is(err, ErrQuery):
		problem(w, r, http.StatusBadRequest, plain.Line(err.Error(), plain.MaxName), "")
	case errors.Is(err, ErrLoading):
		w.Header().Set("Retry-After", "2")
		problem(w, r, http.StatusServiceUnavailable, err.Error(), "")
	case err != nil:
		p.log.Error("page", "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "60")
		problem(w, r, http.StatusServiceUnavailable, "the server cannot answer this now",
			"its log says why; ask the operator of the server")
	default:
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // our own types
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", cacheAsk)
		write(w, r, http.StatusOK, b, nil)
	}
	return who
}

func problem(w http.ResponseWriter, r *http.Request, status int, text, hint string) {
	b, err := json.Marshal(schema.Problem{Error: text, Hint: hint})
	if err != nil {
		panic(err) // our own types
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", cacheNever)
	write(w, r, status, b, nil)
}

// serveCSV answers with all hosts of a filter, page after page as they are sent.
func (p *Pages) serveCSV(w http.ResponseWriter, r *http.Request, u schema.User) {
	q := r.URL.Query()
	page, err := p.data.Hosts(r.Context(), u, q)
	if err != nil {
		p.sayError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="hosts.csv"`)
	w.Header().Set("Cache-Control", cacheNever)
	out := csv.NewWriter(w)
	write := func(cells ...string) {
		for i := range cells {
			cells[i] = cell(cells[i])
		}
		_ = out.Write(cells) // told by Error
	}
	write("host", "site", "ring", "state", "code", "target", "downloaded", "installed", "release", "last check",
		"last update", "why", "error")
	for {
		for _, h := range page.Hosts {
			hex := func(d schema.Digest) string {
				if d.IsZero() {
					return ""
				}
				return d.Hex()
			}
			write(h.Name, h.Site, h.Ring, string(h.State), h.Code, hex(h.Target), hex(h.Downloaded), hex(h.Installed),
				strconv.FormatInt(h.Release, 10), stamp(h.Checked), stamp(h.Updated), plain.Line(h.Why, plain.MaxError),
				plain.Line(h.Error, plain.MaxError))
		}
		out.Flush()
		if out.Error() != nil || page.Next == "" {
			return
		}
		if q, err = url.ParseQuery(page.Next); err == nil {
			page, err = p.data.Hosts(r.Context(), u, q)
		}
		if err != nil {
			p.log.Error("page", "path", r.URL.Path, "error", err)
			panic(http.ErrAbortHandler) // what is cut short must not look whole
		}
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// cell keeps spreadsheets from taking what a host says for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
