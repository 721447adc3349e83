package reconcile

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/keys/keystest"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/roots"
	"bakehouse/reconcile/starter"
	"bakehouse/reconcile/upgrade"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// start is when the tests' fleets are made.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// lab is a fleet repository with keys, and a clock that moves by the hour.
type lab struct {
	t    *testing.T
	dir  string
	now  time.Time
	tool string

	stolen *keys.Keyring // of a thief; nil: the fleet's keys
}

// newLab has the quickstart fleet, with a root and a pinned host program, and nothing committed yet.
func newLab(t *testing.T) *lab {
	t.Helper()
	needs.Tool(t, "git")
	keystest.Cheap()
	l := &lab{t: t, dir: t.TempDir(), now: start, tool: "1.0.0"}
	for _, name := range []string{"ROOT", "ONLINE", "RELEASE", "AUDIT", "NEXT", "ONLINE2"} {
		t.Setenv("BAKEHOUSE_PASSPHRASE_"+name, "secret")
	}
	l.must((&starter.Repo{Dir: l.repo(), Example: "quickstart"}).Write())
	l.key("root", fleet.UseRoot)
	l.key("online", fleet.UseTargets, fleet.UseSnapshot, fleet.UseTimestamp)
	l.key("release", fleet.UsePackage)
	l.write("fleet.cue", "package fleet\n\nname: \"acme\"\nurl: \"https://bakehouse.example\"\n")
	_, err := l.ceremony().Init(4)
	l.must(err)
	l.must(os.Mkdir(filepath.Join(l.dir, "programs"), 0o755))
	l.must(os.WriteFile(filepath.Join(l.dir, "programs", "bakehouse-agent-linux-amd64"),
		[]byte(strings.Repeat("a host program\n", 5000)), 0o755))
	linux := []schema.Platform{{OS: "linux", Arch: "amd64"}}
	_, err = upgrade.Upgrade(t.Context(), l.repo(), l.programs(), l.tool, linux)
	l.must(err)
	return l
}

func (l *lab) repo() string { return filepath.Join(l.dir, "fleet") }

func (l *lab) programs() program.Places { return program.Places{Dir: filepath.Join(l.dir, "programs")} }

func (l *lab) access() *keys.Access { return &keys.Access{Dir: filepath.Join(l.dir, "private")} }

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) key(name string, uses ...string) {
	l.t.Helper()
	_, err := l.access().Create(l.t.Context(), keys.New{Repo: l.repo(), Name: name, Uses: uses})
	l.must(err)
}

// top is the fleet's keys and roots in the work tree.
func (l *lab) top() *fleet.Fleet {
	l.t.Helper()
	f, err := evaluate.LoadTop(l.t.Context(), os.DirFS(l.repo()))
	l.must(err)
	return f
}

func (l *lab) ring() *keys.Keyring { return l.access().Open(l.t.Context(), l.top()) }

func (l *lab) ceremony() *roots.Ceremony {
	l.t.Helper()
	return &roots.Ceremony{Fleet: l.top(), Repo: l.repo(), Now: l.now, Keys: l.ring().For}
}

// nextRoot replaces the online key.
func (l *lab) nextRoot() {
	l.t.Helper()
	l.must(os.Remove(filepath.Join(l.repo(), "keys", "online.cue")))
	l.key("online2", fleet.UseTargets, fleet.UseSnapshot, fleet.UseTimestamp)
	_, _, err := l.ceremony().Next(false, false)
	l.must(err)
	_, _, err = l.ceremony().Sign("", "")
	l.must(err)
}

func (l *lab) write(file, text string) {
	l.t.Helper()
	path := filepath.Join(l.repo(), file)
	l.must(os.MkdirAll(filepath.Dir(path), 0o755))
	l.must(os.WriteFile(path, []byte(text), 0o644))
}

func (l *lab) git(args ...string) string {
	l.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = l.repo()
	date := l.now.Format(time.RFC3339)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a",
		"GIT_COMMITTER_EMAIL=a@example.com", "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit commits everything, an hour after what was done last.
func (l *lab) commit(message string) {
	l.t.Helper()
	l.now = l.now.Add(time.Hour)
	l.git("add", "-A")
	l.git("commit", "-q", "-m", message)
}

func (l *lab) options(location string) Options {
	published, err := filepath.Glob(filepath.Join(location, "timestamps/*.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	return Options{Where: desired.Where{Repo: l.repo(), Ref: "main"}, Store: location, Init: len(published) == 0,
		Programs: l.programs(),
		CacheDir: filepath.Join(l.dir, "cache"), Version: l.tool, Keys: *l.access(), Now: l.now}
}

// publish commits what was written and publishes it.
func (l *lab) publish(location, message string) *Outcome {
	l.t.Helper()
	l.commit(message)
	out, err := Run(l.t.Context(), l.options(location), io.Discard)
	l.must(err)
	if !out.Published {
		l.t.Fatalf("%s: nothing was published", message)
	}
	return out
}

func (l *lab) store(location string) store.Store {
	l.t.Helper()
	st, err := stores.OpenExisting(l.t.Context(), location)
	l.must(err)
	return st
}

// objects are all of a store.
func (l *lab) objects(location string) map[string]string {
	l.t.Helper()
	all := map[string]string{}
	st := l.store(location)
	for e, err := range st.List(context.Background(), "", "") {
		l.must(err)
		b, err := store.Read(context.Background(), st, e.Key, 1<<30)
		l.must(err)
		all[e.Key] = string(b)
	}
	return all
}

// disk sets a parameter of the hosts below hosts/web.
func (l *lab) disk(percent int) {
	l.write("hosts/web/rules.cue", fmt.Sprintf("package web\n\nrules: vitals: [{value: disk: %d}]\n", percent))
}
