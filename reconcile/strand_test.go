package reconcile

import (
	"bytes"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/reconcile/accept"
	"bakehouse/reconcile/desired"
	"bakehouse/schema/fleet"
)

// What hosts have installed decides which signatures they accept on the next package, whatever the commit says.
func TestHostsThatWouldNotAcceptThePackageAreCounted(t *testing.T) {
	l := newLab(t)
	key := func(name string) string { return filepath.Join(l.repo(), "keys", name+".cue") }
	rule := func(value string) {
		for _, dir := range []string{"web", "db"} {
			l.write("hosts/"+dir+"/updates.cue", "package "+dir+"\n\nrules: updater: [{value: {"+value+"}}]\n")
		}
	}
	next := func() {
		l.must(os.RemoveAll(filepath.Join(l.dir, "private", "next.key")))
		l.key("next", fleet.UsePackage)
	}
	at := func(name string) string { return filepath.Join(l.dir, name) }

	// Three states with a store each: one key; a second one, which packages of the first state do not know; both
	// demanded.
	l.publish(at("one"), "one")
	one := l.git("rev-parse", "HEAD")
	l.must(os.CopyFS(at("two"), os.DirFS(at("one"))))
	l.key("audit", fleet.UsePackage)
	l.publish(at("two"), "two")
	two := l.git("rev-parse", "HEAD")
	rule(`keys: ["release", "audit"], threshold: 2`)
	l.publish(at("both"), "both")
	both := l.git("rev-parse", "HEAD")

	for _, c := range []struct {
		name, base, store string
		change            func()
		hosts             int      // that are certainly stranded
		says              []string // in the text and the comment
		beside            []string // beside a store only
	}{
		{name: "another rule", base: two, store: "two", change: func() { l.disk(42) }},
		{name: "a further key", base: one, store: "one", change: next},
		{name: "a key replaced in one commit", base: one, store: "one",
			change: func() { l.must(os.Remove(key("release"))); next() },
			hosts:  3, says: []string{"3 hosts would not accept the package: what is installed accepts release, " +
				"and key release is in keys/ no more: db01, web01, web02", "restore keys/release.cue from git"}},
		{name: "a key deleted that hosts demand", base: both, store: "both",
			change: func() { l.must(os.Remove(key("audit"))); rule(`keys: ["release"]`) },
			hosts:  3, says: []string{"what is installed accepts 2 of release, audit, and key audit is in keys/ no " +
				"more"}},
		{name: "a threshold lowered while both sign", base: both, store: "both",
			change: func() { rule(`keys: ["release", "audit"], threshold: 1`) }},
		{name: "a threshold raised to keys of which one cannot sign", base: two, store: "two",
			change: func() {
				rule(`keys: ["release", "audit"], threshold: 2`)
				b, err := os.ReadFile(key("audit"))
				l.must(err)
				l.must(os.WriteFile(key("audit"), bytes.Replace(b, []byte("uses:"),
					[]byte("expires: \"2020-01-01T00:00:00Z\"\n\tuses:"), 1), 0o644))
			}, hosts: 3, says: []string{"3 hosts would accept no package after this one, which accepts " +
				"2 of release, audit, and key audit has expired", "set a later `expires` in keys/audit.cue"}},
		{name: "a key retired after hosts were given another", base: two, store: "two",
			change: func() {
				r := accept.Retirement{Repo: l.repo(), Store: at("two"), Updated: true, Now: l.now}
				_, err := r.Run(t.Context(), "release")
				l.must(err)
			}, beside: []string{"3 hosts would not accept the package without having installed what is published: " +
				"before that it was release, and key release is retired: db01, web01, web02"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.git("reset", "-q", "--hard", c.base)
			c.change()
			l.commit(c.name)
			for _, against := range []string{"", at(c.store)} {
				p := &Preview{Where: desired.Where{Repo: l.repo(), Ref: "main"}, Against: against}
				r, refusal, err := p.Report(t.Context(), &bytes.Buffer{})
				l.must(err)
				l.must(refusal)
				want := c.says
				if against != "" {
					want = append(want, c.beside...)
				}
				if r.Summary.Stranded != c.hosts || len(want) == 0 && len(r.Stranded) > 0 {
					t.Errorf("%q: %d hosts, not %d: %v", against, r.Summary.Stranded, c.hosts, r.Stranded)
				}
				var text, comment bytes.Buffer
				l.must(r.Text(&text))
				l.must(r.Markdown(&comment))
				for _, s := range want {
					for _, form := range []string{text.String(), html.UnescapeString(comment.String())} {
						if !strings.Contains(form, s) {
							t.Errorf("%q: this is not said: %s\n%s", against, s, form)
						}
					}
				}
			}
			o := l.options(at(c.store))
			p, err := o.open(&bytes.Buffer{})
			l.must(err)
			var log bytes.Buffer
			l.must(p.head.Evaluate(t.Context()))
			l.must(p.openStore(t.Context()))
			found, err := Compare(t.Context(), p.head, p.store, p.now, p.Recovery)
			l.must(err)
			_, err = warnStranded(t.Context(), p.store, found.Release, p.head, p.now, &log)
			l.must(err)
			level, want := "warning", append(c.says, c.beside...)
			if c.hosts == 0 {
				level = "note"
			}
			for _, s := range want {
				said := log.String()
				if !strings.Contains(said, s) || !strings.Contains(said, "bakehouse: "+level+": 3 hosts would ") {
					t.Errorf("reconcile does not say: %s\n%s", s, said)
				}
			}
			if len(want) == 0 && log.Len() > 0 {
				t.Errorf("reconcile says: %s", &log)
			}
		})
	}
}
