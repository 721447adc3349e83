package publish

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/roots"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/tree"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// start is when the tests' fleets are made.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// testFleet has one key per use, named after it, in the folder keyDir.
type testFleet struct {
	*fleet.Fleet
	t       testing.TB
	keys    *keys.Keyring
	dir     string
	signers map[string]keys.Signers
	now     time.Time // when roots are made

	recovery Recovery // what happened to the store before the next publish
}

const testBins = 8

var testUses = []string{fleet.UseRoot, fleet.UseTargets, fleet.UseSnapshot, fleet.UseTimestamp, fleet.UsePackage}

func newFleet(t testing.TB) *testFleet {
	t.Helper()
	f := &testFleet{t: t, dir: t.TempDir(), signers: map[string]keys.Signers{}, now: start,
		Fleet: &fleet.Fleet{Name: "acme", URL: "https://bakehouse.example", AnchorVersion: 1,
			Lifetimes: fleet.Lifetimes{Timestamp: 7 * day, Snapshot: 30 * day, Targets: 365 * day, Root: 365 * day},
			Keys:      map[string]*fleet.Key{}}}
	for _, use := range testUses {
		f.addKey(use, use)
	}
	f.keys = f.ring()
	f.remakeRoot()
	return f
}

// sameFleet is newFleet that is the same in every process that calls it.
func sameFleet(t testing.TB) *testFleet {
	t.Helper()
	f := newFleet(t)
	for _, use := range testUses {
		seed := schema.DigestOf([]byte("the key for " + use))
		f.takeKey(use, ed25519.NewKeyFromSeed(seed[:]), use)
	}
	f.keys = f.ring()
	f.remakeRoot()
	return f
}

// remakeRoot starts the fleet's chain of roots anew.
func (f *testFleet) remakeRoot() {
	f.t.Helper()
	f.Roots = nil
	c := f.ceremony()
	if _, err := c.Init(testBins); err != nil {
		f.t.Fatal(err)
	}
	f.reload(c)
}

// ceremony is over a repo with the fleet's roots.
func (f *testFleet) ceremony() *roots.Ceremony {
	f.t.Helper()
	c := &roots.Ceremony{Fleet: f.Fleet, Repo: f.t.TempDir(), Now: f.now}
	c.Keys = func(fl *fleet.Fleet) *keys.Keyring { return f.ringOf(fl) }
	for i, b := range f.Roots {
		if err := os.MkdirAll(filepath.Join(c.Repo, "trust"), 0o755); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(c.File(i+1), b, 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	return c
}

// reload takes the roots as they lie in the repo.
func (f *testFleet) reload(c *roots.Ceremony) {
	f.t.Helper()
	f.Roots = nil
	for {
		b, err := os.ReadFile(c.File(len(f.Roots) + 1))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			f.t.Fatal(err)
		}
		f.Roots = append(f.Roots, b)
	}
}

// nextRoot makes the root that follows from the keys and signs it with all of them, and with those that go.
func (f *testFleet) nextRoot() {
	f.t.Helper()
	c := f.ceremony()
	if _, _, err := c.Next(true, false); err != nil {
		f.t.Fatal(err)
	}
	f.reload(c)
	if _, made, err := c.Sign("", ""); err != nil || !made.Newest().Complete() {
		f.t.Fatalf("%v", err)
	}
	f.reload(c)
}

// ring is a keyring whose keys are already decrypted: scrypt takes a good part of a second, and is tested by itself.
func (f *testFleet) ring() *keys.Keyring { return f.ringOf(f.Fleet) }

func (f *testFleet) ringOf(fl *fleet.Fleet) *keys.Keyring {
	k := keys.Open(fl, f.dir, func(string, bool) ([]byte, error) {
		return nil, errors.New("asked for a passphrase")
	})
	k.Now = func() time.Time { return start }
	for name, s := range f.signers {
		k.Use(name, s)
	}
	return k
}

func (f *testFleet) addKey(name string, uses ...string) {
	f.t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	f.takeKey(name, priv, uses...)
}

func (f *testFleet) takeKey(name string, priv crypto.Signer, uses ...string) {
	f.t.Helper()
	public, err := cryptoutils.MarshalPublicKeyToPEM(priv.Public())
	if err != nil {
		f.t.Fatal(err)
	}
	if f.signers[name], err = keys.LoadSigners(priv); err != nil {
		f.t.Fatal(err)
	}
	f.Keys[name] = &fleet.Key{Name: name, Public: string(public), Uses: uses}
	if err := os.WriteFile(filepath.Join(f.dir, keys.FileName(name)), []byte("decrypted already"), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// rotate replaces the only key of a use by a new one, in a next root.
func (f *testFleet) rotate(use string) {
	f.t.Helper()
	for name, key := range f.Keys {
		if slices.Contains(key.Uses, use) {
			delete(f.Keys, name)
		}
	}
	f.addKey(fmt.Sprintf("%s-%d", use, len(f.Roots)+1), use)
	f.keys = f.ring()
	f.nextRoot()
}

func openStore(t testing.TB) store.Store {
	t.Helper()
	st, err := stores.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// want is an assignment as reconcile derives it: the package's bytes are its name.
func want(host, pkg string) schema.Assignment {
	return schema.Assignment{Host: host, SHA256: schema.DigestOf([]byte(pkg)), Length: int64(len(pkg)),
		Target: schema.Target{Manifest: schema.DigestOf([]byte("manifest of " + pkg)),
			Recipe: schema.RecipeID(schema.DigestOf([]byte("recipe of " + pkg)).Hex()[:16]),
			Site:   "central", Ring: "all", Selected: true}}
}

// release is what a run is to publish, and when.
type release struct {
	Wanted
	Now time.Time
}

func next(now time.Time, as ...schema.Assignment) release {
	return release{Now: now, Wanted: Wanted{Assignments: as,
		Policy: schema.Policy{Enabled: true, Rings: []schema.Ring{{Name: "all"}},
			Sites: map[string]schema.Site{"central": {URL: "https://bakehouse.example"}}},
		Access:  &schema.Access{Users: map[string]schema.User{}},
		About:   &schema.About{Schema: schema.AboutSchema},
		Release: schema.Release{Commit: "c0ffee", Tree: "7ee", Tool: "test", Bake: 1}}}
}

// publish runs once, as reconcile does.
func (f *testFleet) publish(st store.Store, n release) (*Summary, error) {
	f.t.Helper()
	s, err := Recover(f.t.Context(), st, f.Fleet, n.Now, f.recovery, nil)
	if err != nil {
		return nil, err
	}
	return s.Publish(f.t.Context(), st, f.keys, n.Wanted)
}

func (f *testFleet) mustPublish(st store.Store, n release) *Summary {
	f.t.Helper()
	sum, err := f.publish(st, n)
	if err != nil {
		f.t.Fatalf("publish: %v", err)
	}
	return sum
}

func storeSource(st store.Store) trust.Source {
	return store.Source(st, func(ctx context.Context) (int64, error) { return store.Head(ctx, st) })
}

// host is a host program with its state directory.
type host struct {
	c   *trust.Client
	src trust.Source
	now time.Time
}

func (f *testFleet) host(st store.Store, dir string, now time.Time) *host {
	f.t.Helper()
	h := &host{src: storeSource(st), now: now}
	var err error
	if h.c, err = trust.Open(dir, f.Roots[0], func() time.Time { return h.now }); err != nil {
		f.t.Fatal(err)
	}
	return h
}

// get refreshes and returns what the host is given: the package's digest, or "" for none.
func (h *host) get(t testing.TB, name string) (*schema.Assignment, error) {
	t.Helper()
	if err := h.c.Refresh(t.Context(), h.src, nil); err != nil {
		return nil, err
	}
	a, err := h.c.Assignment(t.Context(), h.src, name)
	if errors.Is(err, trust.ErrNoTarget) {
		return nil, nil
	}
	return a, err
}

func (h *host) mustGet(t testing.TB, name, pkg string) *schema.Assignment {
	t.Helper()
	a, err := h.get(t, name)
	if err != nil {
		t.Fatalf("host %s: %v", name, err)
	}
	if pkg == "" {
		if a != nil {
			t.Fatalf("host %s is given %s, want nothing", name, a.SHA256.Short())
		}
		return nil
	}
	if a == nil || a.SHA256 != schema.DigestOf([]byte(pkg)) {
		t.Fatalf("host %s is not given package %q but %+v", name, pkg, a)
	}
	return a
}

// plant makes the newest snapshot name the files of targets and bins as they are now, and signs it and its timestamp
// again in place.
func (f *testFleet) plant(st memStore) {
	f.t.Helper()
	must := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	root, err := trust.ParseRoot(f.Roots[len(f.Roots)-1])
	must(err)
	head, err := store.Head(f.t.Context(), st)
	must(err)
	stamp, err := metadata.Timestamp().FromBytes(st[schema.TimestampKey(head)])
	must(err)
	key := schema.MetadataKey("snapshot", stamp.Signed.Meta["snapshot.json"].Version)
	snapshot, err := metadata.Snapshot().FromBytes(st[key])
	must(err)
	var lines []tree.Line
	for file, m := range snapshot.Signed.Meta {
		role := strings.TrimSuffix(file, ".json")
		lines = append(lines, tree.Line{Role: role, Version: m.Version,
			SHA256: schema.DigestOf(st[schema.MetadataKey(role, m.Version)])})
	}
	t := tree.Of(lines)
	st[schema.TreeKey(t.Root())] = t.Encode()
	tree.Sign(snapshot.Signed.UnrecognizedFields, t.Root())
	st[key], err = keys.SignRole(f.keys, snapshot, root.Signed.Roles["snapshot"])
	must(err)
	stamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(snapshot.Signed.Version)
	st[schema.TimestampKey(head)], err = keys.SignRole(f.keys, stamp, root.Signed.Roles["timestamp"])
	must(err)
}
