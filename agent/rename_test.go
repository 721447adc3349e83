package agent

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// called is the host's name in both files that have it.
func (h *host) called() string {
	h.t.Helper()
	name := h.stateOf().Registration.Host
	b, err := os.ReadFile(h.files.Stored(state.IdentityFile))
	if err != nil || !bytes.Contains(b, []byte(`"host": "`+name+`"`)) {
		h.t.Errorf("%s does not have %s, as %s does: %v", state.IdentityFile, name, state.RecordFile, err)
	}
	return name
}

// running is web01, which runs a package, and its fleet, which has app01 too.
func running(t *testing.T) (*testfleet.Fleet, *host) {
	t.Helper()
	f := testfleet.New(t)
	f.Give("web01", version(f, "one"))
	f.Give("app01", version(f, "another's"))
	h := newHost(t, f)
	if _, err := h.Register(t.Context(), options(t, f, "web01")); err != nil {
		t.Fatal(err)
	}
	h.update()
	return f, h
}

func TestARenamedHostKeepsItsSecretAndGoesUnderItsNewName(t *testing.T) {
	f, h := running(t)
	secret := h.stateOf().Registration.Secret
	f.Call("web01", "web09")
	f.Rename("web01", "web09", "web00", "web01")
	if r := h.update(); r.State != schema.StateCurrent || r.Host != "web09" || h.called() != "web09" {
		t.Fatalf("%+v, called %s\n%s", r, h.called(), &h.said)
	}
	if r := h.stateOf().Registration; r.Secret != secret {
		t.Errorf("the registration is %+v", r)
	}
	var asked string // for the next package, by name
	f.Bend(func(_ http.ResponseWriter, r *http.Request) bool {
		asked, _, _ = r.BasicAuth()
		return false
	})
	f.Give("web09", version(f, "two"))
	if r := h.update(); r.Code != outcome.CodeInstalled || asked != "web09" {
		t.Errorf("%+v, asked as %q", r, asked)
	}
	h.runs("two")
}

func TestAHostThatWasRenamedTwiceWhileItWasOffFollows(t *testing.T) {
	f, h := running(t)
	f.Rename("web01", "web05", "web01")
	f.Rename("web05", "web09", "web05", "web01")
	f.Call("web01", "web09")
	if h.update(); h.called() != "web09" {
		t.Errorf("called %s", h.called())
	}
}

func TestARenameThatIsCutOffIsDoneByTheNextUpdate(t *testing.T) {
	f, h := running(t)
	f.Call("web01", "web09")
	f.Rename("web01", "web09", "web01")
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, f.Bin("web09")) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return strings.Contains(r.URL.Path, f.Bin("web09"))
	})
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil {
		t.Errorf("%+v", r)
	}
	f.Bend(nil)
	if r := h.update(); r.State != schema.StateCurrent || h.called() != "web09" {
		t.Errorf("%+v, called %s", r, h.called())
	}
}

// Whoever controls the server could else give a host the package, and so the secrets, of another.
func TestAServerCannotTurnAHostIntoAnother(t *testing.T) {
	for name, c := range map[string]struct {
		signs   func(f *testfleet.Fleet)
		refused bool
	}{
		"that the fleet has": {func(f *testfleet.Fleet) {
			f.Rename("web01", "web09")
		}, true},
		"that was called otherwise": {func(f *testfleet.Fleet) {
			f.Rename("web01", "web09")
			f.Rename("app01", "app01", "app00")
		}, true},
		"that the fleet does not have": {func(f *testfleet.Fleet) {
			f.Rename("web01", "web09", "web01")
			f.Rename("app01", "app02", "app01")
		}, true},
		"while the fleet has it under its own name": {func(f *testfleet.Fleet) {
			f.Rename("app01", "app01", "web01")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, h := running(t)
			c.signs(f)
			f.Call("web01", "app01")
			if c.refused {
				h.refused("the server calls this host app01, and nothing that is signed says that web01 was renamed")
			} else {
				h.update()
			}
			if h.called() != "web01" {
				t.Errorf("called %s", h.called())
			}
			h.runs("one")
		})
	}
}

func TestAServerCannotRenameAHostByMetadataThatNobodySigned(t *testing.T) {
	f, h := running(t)
	f.Rename("web01", "web09")
	f.Call("web01", "app01")
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if !strings.HasSuffix(name, "."+f.Bin("app01")+".json") {
			return false
		}
		site := []byte(`"site":"central"`)
		forged := bytes.Replace(f.Files[name], site, append(site[:len(site):len(site)], `,"was":["web01"]`...), 1)
		if bytes.Equal(forged, f.Files[name]) {
			t.Errorf("nothing to forge in %s", f.Files[name])
		}
		_, _ = w.Write(forged)
		return true
	})
	h.refused()
	if h.called() != "web01" {
		t.Errorf("called %s", h.called())
	}
	h.runs("one")
}

// The commit took the rename back before the host heard of it, and a server hands out what was signed meanwhile.
func TestARenameThatWasTakenBackIsNotReplayed(t *testing.T) {
	f, h := running(t)
	f.Rename("web01", "web09", "web01")
	renamed := f.Head()
	f.Rename("web09", "web01")
	h.update()
	f.Replay(renamed)
	f.Call("web01", "web09")
	h.update()
	if h.called() != "web01" {
		t.Errorf("called %s", h.called())
	}
}

func TestAHostWhoseNameIsGoneSaysSinceWhenAndWhatToType(t *testing.T) {
	f, h := running(t)
	f.Rename("web01", "web09")
	since := f.Now().Format("2006-01-02T15:04:05Z")
	for range 2 {
		r := h.update()
		for _, want := range []string{"no package for host web01 since " + since, "set `was: \"web01\"`",
			"bakehouse-agent register --force --host NAME"} {
			if r.State != schema.StateHeld || !strings.Contains(r.Why, want) {
				t.Errorf("%+v does not say %q", r, want)
			}
		}
		f.Pass(60e9)
		f.Publish()
	}
	f.Rename("web09", "web01")
	if h.update(); !h.stateOf().Gone.IsZero() {
		t.Error("it is still gone")
	}
	h.runs("one")
}
