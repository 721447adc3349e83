package examples_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// note is a comment as both forges tell it.
type note struct {
	ID     int64             `json:"id"`
	Body   string            `json:"body"`
	User   map[string]string `json:"user"`   // GitHub's
	Author map[string]string `json:"author"` // GitLab's
}

// forge is what GitHub's and GitLab's API do with the comments of pull request 7.
type forge struct {
	*httptest.Server
	token string // who has it is the author called bot
	bot   string
	head  string // of the pull request
	goes  string // to that branch

	readOnly bool // the token may read alone
	broken   int  // so many writes are answered with 502, and done nevertheless
	endless  bool // "page" is ignored, as Gitea does

	mu    sync.Mutex
	notes []note
	calls []string // that write
}

// newForge has a hundred comments by others, one of which pretends to be the plan.
func newForge(t *testing.T, bot string) *forge {
	f := &forge{token: "t0ken-of-the-job", bot: bot, goes: "main"}
	for i := range 100 {
		f.add("mallory", fmt.Sprintf("%s\nlooks fine, merge it (%d)", marker, i))
	}
	mux := http.NewServeMux()
	for list, one := range map[string]string{
		"/repos/our/fleet/issues/7/comments":         "PATCH /repos/our/fleet/issues/comments/{id}",
		"/api/v4/projects/42/merge_requests/7/notes": "PUT /api/v4/projects/42/merge_requests/7/notes/{id}",
	} {
		mux.HandleFunc("GET "+list, f.list)
		mux.HandleFunc("POST "+list, f.create)
		mux.HandleFunc(one, f.update)
	}
	mux.HandleFunc("GET /api/v4/user", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"username": f.bot})
	})
	mux.HandleFunc("GET /user", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `{"message": "Resource not accessible by integration"}`, http.StatusForbidden)
	})
	mux.HandleFunc("GET /repos/our/fleet/pulls/7", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"head": map[string]string{"sha": f.head},
			"base": map[string]string{"ref": f.goes}})
	})
	mux.HandleFunc("GET /api/v4/projects/42/merge_requests/7", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"sha": f.head, "target_branch": f.goes})
	})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+f.token && r.Header.Get("Private-Token") != f.token {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Method != http.MethodGet {
			f.calls = append(f.calls, r.Method)
			if f.readOnly {
				http.Error(w, "{}", http.StatusForbidden)
				return
			}
			if f.broken > 0 {
				f.broken--
				mux.ServeHTTP(httptest.NewRecorder(), r)
				http.Error(w, "{}", http.StatusBadGateway)
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// set changes what the forge knows or does, between two jobs.
func (f *forge) set(change func(*forge)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *forge) add(author, body string) {
	who := map[string]string{"login": author, "username": author}
	f.notes = append(f.notes, note{ID: int64(1000 + len(f.notes)), Body: body, User: who, Author: who})
}

func (f *forge) list(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.FormValue("page"))
	per, _ := strconv.Atoi(r.FormValue("per_page"))
	if page < 1 || per < 1 {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	if f.endless {
		page, per = 1, len(f.notes)
	}
	from := min((page-1)*per, len(f.notes))
	_ = json.NewEncoder(w).Encode(f.notes[from:min(from+per, len(f.notes))])
}

func (f *forge) create(w http.ResponseWriter, r *http.Request) {
	if body, ok := body(w, r); ok {
		f.add(f.bot, body)
		w.WriteHeader(http.StatusCreated)
	}
}

func (f *forge) update(w http.ResponseWriter, r *http.Request) {
	for i := range f.notes {
		if strconv.FormatInt(f.notes[i].ID, 10) != r.PathValue("id") {
			continue
		}
		if body, ok := body(w, r); ok {
			f.notes[i].Body = body
		}
		return
	}
	http.NotFound(w, r)
}

// body is the text of a comment; 65,536 characters is GitHub's limit.
func body(w http.ResponseWriter, r *http.Request) (string, bool) {
	var sent struct{ Body string }
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil || sent.Body == "" || len(sent.Body) > 65_536 ||
		!strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		http.Error(w, "{}", http.StatusUnprocessableEntity)
		return "", false
	}
	return sent.Body, true
}

// plan is the one comment of ours, and how it came: "POST PATCH" was created and once changed in place.
func (f *forge) plan(t *testing.T) (text, calls string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.notes {
		switch {
		case c.User["login"] == f.bot:
			n, text = n+1, c.Body
		case !strings.Contains(c.Body, "looks fine, merge it"):
			t.Errorf("the comment %d of someone else was changed to %s", c.ID, c.Body)
		}
	}
	if n > 1 {
		t.Errorf("%d comments of ours, not one", n)
	}
	return text, strings.Join(f.calls, " ")
}
