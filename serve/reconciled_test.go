package serve

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/roots"
	"bakehouse/schema"
	"bakehouse/serve/access"
)

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(file), 0o755))
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	check(t, err)
	_, err = f.WriteString(text)
	check(t, err)
	check(t, f.Close())
}

// What the other tests take from a fixture here comes from the commands and packages that make it in earnest: the user
// from `access add` through the repo's CUE, the metadata from package sign.
func TestWhatReconcileSignsAndAccessAddPrintsIsServed(t *testing.T) {
	repo, keyDir := t.TempDir(), t.TempDir()
	t.Setenv("BAKEHOUSE_PASSPHRASE_ALL", "a passphrase")
	appendTo(t, filepath.Join(repo, "fleet.cue"),
		"package fleet\n\nname: \"acme\"\nurl: \"https://bakehouse.example\"\nrollout: enabled: true\n")
	user, err := access.Line("installer", []byte(password), false, []string{schema.PermRegister}, []string{"~.*"})
	check(t, err)
	appendTo(t, filepath.Join(repo, "access.cue"), "package fleet\n"+user+"\n")
	appendTo(t, filepath.Join(repo, "hosts", "hosts.cue"),
		"package hosts\n\ndefaults: {platform: \"linux/amd64\", format: \"deb\"}\nhosts: {web01: {}, web02: {}}\n")
	holder := keys.Access{Dir: keyDir}
	_, err = holder.Create(t.Context(), keys.New{Repo: repo, Name: "all", Uses: keys.Uses})
	check(t, err)
	top, err := evaluate.LoadTop(t.Context(), os.DirFS(repo))
	check(t, err)
	_, err = (&roots.Ceremony{Fleet: top, Repo: repo, Now: time.Now(), Keys: holder.Open(t.Context(), top).For}).Init(4)
	check(t, err)
	model, err := evaluate.Load(t.Context(), os.DirFS(repo), nil)
	check(t, err)

	f := newFleet(t) // for its packages and its empty store; its own root is put aside
	f.removeKey(schema.MetadataKey("root", 1))
	f.Anchor = model.Roots[0]
	ring := keys.Open(model.Fleet, keyDir, func(string, bool) ([]byte, error) { return []byte("a passphrase"), nil })
	publish := func(p map[string]pack) {
		t.Helper()
		state, err := publish.Read(t.Context(), f.store, model.Fleet, time.Now())
		check(t, err)
		next := publish.Wanted{Access: &model.Access,
			Policy: schema.Policy{Enabled: true, Rings: []schema.Ring{{Name: "all"}}, Sites: model.Sites}}
		for host, p := range p {
			next.Assignments = append(next.Assignments,
				schema.Assignment{Host: host, SHA256: p.digest, Length: int64(len(p.bytes)),
					Target: schema.Target{Manifest: p.manifest, Recipe: "0123456789abcdef", Site: "central", Ring: "all",
						Selected: true}})
		}
		_, err = state.Publish(t.Context(), f.store, ring, next)
		check(t, err)
	}
	first := map[string]pack{"web01": f.bake("web01's first"), "web02": f.bake("web02's first")}
	publish(first)
	w := start(t, f)
	one, two := w.register("web01"), w.register("web02")
	for _, c := range []caller{one, two} {
		if got := w.follow(f, c); !bytes.Equal(got, first[c.name].bytes) {
			t.Errorf("%s got another package", c.name)
		}
	}
	second := map[string]pack{"web01": f.bake("web01's second"), "web02": first["web02"]}
	publish(second)
	a, r := w.poll(one, schema.PollRequest{MetadataVersions: held(1, 1)})
	if f.stampOf(a, 1) == nil {
		t.Fatalf("nothing new: %d %s", r.status, r.body)
	}
	if got := w.follow(f, one); !bytes.Equal(got, second["web01"].bytes) {
		t.Error("web01 got another package than its second")
	}
	for _, p := range []pack{first["web01"], second["web01"]} {
		wantStatus(t, w.get(two, schema.ManifestPath+p.manifest.Hex()), 404, "not found")
	}
}
