package trust

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// start is when the tests' fleets are first published.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// testKey is a key pair.
type testKey struct {
	signer signature.Signer
	key    *metadata.Key
	id     string
	pem    string
}

var keysMade atomic.Int64

func newKey(t testing.TB) testKey {
	t.Helper()
	// Not random: the processes of a fuzz run must agree on what is signed.
	seed := sha256.Sum256(fmt.Append(nil, "test key ", keysMade.Add(1)))
	priv := ed25519.NewKeyFromSeed(seed[:])
	pub := priv.Public().(ed25519.PublicKey)
	s, err := signature.LoadSigner(priv, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	id, err := k.ID()
	if err != nil {
		t.Fatal(err)
	}
	p, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{s, k, id, string(p)}
}

// repo is a fleet's repository in memory. Its metadata may be bent before publish signs them.
type repo struct {
	t       testing.TB
	now     time.Time
	keys    map[string][]testKey // by role; bins are signed by "bins", targets' keys unless a test says otherwise
	root    *metadata.Metadata[metadata.RootType]
	targets *metadata.Metadata[metadata.TargetsType]
	snap    *metadata.Metadata[metadata.SnapshotType]
	stamp   *metadata.Metadata[metadata.TimestampType]
	bins    map[string]*metadata.Metadata[metadata.TargetsType]
	policy  schema.Policy

	files   map[string][]byte // what a Source finds
	content map[schema.Digest][]byte
	mu      *sync.Mutex // of asked
	asked   []string
	fail    map[string]error
}

const testBins = 4

func newRepo(t testing.TB) *repo {
	t.Helper()
	r := &repo{t: t, mu: new(sync.Mutex), now: start, keys: map[string][]testKey{}, files: map[string][]byte{},
		content: map[schema.Digest][]byte{}, fail: map[string]error{}, bins: map[string]*metadata.Metadata[metadata.TargetsType]{}}
	r.root = metadata.Root(start.Add(365 * day))
	r.root.Signed.UnrecognizedFields = map[string]any{RootField: RootInfo{Fleet: "acme", Bins: testBins}}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r.keys[role] = []testKey{newKey(t)}
		r.allow(role, r.keys[role]...)
	}
	r.keys["bins"] = r.keys[metadata.TARGETS]
	r.signRoot(r.keys[metadata.ROOT]...)

	r.targets = metadata.Targets()
	NameRole(r.targets, metadata.TARGETS)
	r.targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, SuccinctRoles: &metadata.SuccinctRoles{
		KeyIDs: []string{}, Threshold: 1, BitLength: bits.Len(testBins - 1), NamePrefix: schema.BinPrefix}}
	for _, k := range r.keys["bins"] {
		if err := r.targets.Signed.AddKey(k.key, ""); err != nil {
			t.Fatal(err)
		}
	}
	r.snap, r.stamp = metadata.Snapshot(), metadata.Timestamp()
	for _, name := range r.targets.Signed.Delegations.SuccinctRoles.GetRoles() {
		r.bins[name] = metadata.Targets()
		NameRole(r.bins[name], name)
		r.snap.Signed.Meta[name+".json"] = metadata.MetaFile(1)
	}
	r.policy = schema.Policy{Schema: schema.PolicySchema, Fleet: "acme", Enabled: true, Issued: start,
		Rings: []schema.Ring{{Name: "all"}}, Sites: map[string]schema.Site{"central": {URL: "https://bakehouse.example"}}}
	for _, h := range []string{"web01", "web02", "db01"} {
		r.assign(h, h+" first", 1)
	}
	r.publish()
	return r
}

// allow lets keys sign a role, besides those that may already.
func (r *repo) allow(role string, keys ...testKey) {
	for _, k := range keys {
		if err := r.root.Signed.AddKey(k.key, role); err != nil {
			r.t.Fatal(err)
		}
	}
}

// rotate makes the next root in which only k signs the role, signed by the old and new root keys.
func (r *repo) rotate(role string, k testKey) {
	signers := append([]testKey{}, r.keys[metadata.ROOT]...)
	for _, old := range r.keys[role] {
		if err := r.root.Signed.RevokeKey(old.id, role); err != nil {
			r.t.Fatal(err)
		}
	}
	r.keys[role] = []testKey{k}
	r.allow(role, k)
	if role == metadata.ROOT {
		signers = append(signers, k)
	}
	r.root.Signed.Version++
	r.signRoot(signers...)
}

func (r *repo) signRoot(keys ...testKey) {
	r.root.ClearSignatures()
	r.files[fmt.Sprintf("%d.root.json", r.root.Signed.Version)] = sign(r.t, r.root, keys)
}

// sign gives md exactly the signatures of keys, and returns its bytes.
func sign[T metadata.Roles](t testing.TB, md *metadata.Metadata[T], keys []testKey) []byte {
	t.Helper()
	md.ClearSignatures()
	for _, k := range keys {
		if _, err := md.Sign(k.signer); err != nil {
			t.Fatal(err)
		}
	}
	b, err := md.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *repo) bin(host string) string {
	return r.targets.Signed.Delegations.SuccinctRoles.GetRolesForTarget(schema.PackageTarget(host))[0].Name
}

// assign gives host a package whose bytes are content.
func (r *repo) assign(host, content string, release int64) {
	custom, err := json.Marshal(schema.Target{Manifest: schema.DigestOf([]byte("manifest of " + content)), Recipe: "0123456789abcdef",
		Site: "central", Ring: "all", Selected: true, Release: release, Since: r.now})
	if err != nil {
		r.t.Fatal(err)
	}
	d := schema.DigestOf([]byte(content))
	r.bins[r.bin(host)].Signed.Targets[schema.PackageTarget(host)] = &metadata.TargetFiles{Length: int64(len(content)),
		Hashes: metadata.Hashes{"sha256": d[:]}, Custom: (*json.RawMessage)(&custom)}
}

// publish signs everything anew under the next versions. Bins keep their version unless named.
func (r *repo) publish(bins ...string) {
	first := r.files[timestampFile] == nil
	if !first {
		r.targets.Signed.Version++
		r.snap.Signed.Version++
		r.stamp.Signed.Version++
	}
	policy, err := json.Marshal(r.policy)
	if err != nil {
		r.t.Fatal(err)
	}
	r.target(schema.PolicyTarget, policy)
	for name, md := range r.bins {
		for _, b := range bins {
			if b == name {
				md.Signed.Version++
				first = true
			}
		}
		if md.Signed.Version == 1 || contains(bins, name) {
			md.Signed.Expires = r.now.Add(365 * day)
			r.files[fmt.Sprintf("%d.%s.json", md.Signed.Version, name)] = sign(r.t, md, r.keys["bins"])
		}
		r.snap.Signed.Meta[name+".json"].Version = md.Signed.Version
	}
	r.targets.Signed.Expires = r.now.Add(365 * day)
	r.snap.Signed.Expires = r.now.Add(30 * day)
	r.stamp.Signed.Expires = r.now.Add(7 * day)
	r.sealTargets()
	r.sealSnapshot()
	r.sealTimestamp()
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func (r *repo) target(name string, b []byte) {
	d := schema.DigestOf(b)
	r.content[d] = b
	r.targets.Signed.Targets[name] = &metadata.TargetFiles{Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": d[:]}}
}

func (r *repo) sealTargets() {
	r.files[fmt.Sprintf("%d.targets.json", r.targets.Signed.Version)] = sign(r.t, r.targets, r.keys[metadata.TARGETS])
	r.snap.Signed.Meta["targets.json"].Version = r.targets.Signed.Version
}

func (r *repo) sealSnapshot() {
	b := sign(r.t, r.snap, r.keys[metadata.SNAPSHOT])
	r.files[fmt.Sprintf("%d.snapshot.json", r.snap.Signed.Version)] = b
	d := schema.DigestOf(b)
	r.stamp.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: r.snap.Signed.Version, Length: int64(len(b)),
		Hashes: metadata.Hashes{"sha256": d[:]}}
}

func (r *repo) sealTimestamp() {
	r.files[timestampFile] = sign(r.t, r.stamp, r.keys[metadata.TIMESTAMP])
}

// ask notes a request: bins are read several at a time.
func (r *repo) ask(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, name)
}

func (r *repo) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	r.ask(name)
	if err := r.fail[name]; err != nil {
		return nil, err
	}
	b, ok := r.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (r *repo) Target(_ context.Context, name string, d schema.Digest, limit int64) ([]byte, error) {
	r.ask(name)
	if err := r.fail[name]; err != nil {
		return nil, err
	}
	b, ok := r.content[d]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (r *repo) clock() time.Time { return r.now }

func (r *repo) anchor() []byte { return r.files["1.root.json"] }

// unsynced spares tests the wait for the disk.
var unsynced = durable.Disk{Around: func(c durable.Call, do func() error) error {
	if strings.HasPrefix(c.Name, "fsync") {
		return nil
	}
	return do()
}}

// open starts a host program: a new process with the state directory of the last one.
func (r *repo) open(dir string) *Client {
	r.t.Helper()
	c, err := open(dir, r.anchor(), r.clock, unsynced)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// update opens a client on dir, refreshes it and reads the host's assignment.
func (r *repo) update(dir, host string) (*schema.Assignment, error) {
	r.t.Helper()
	c, err := open(dir, r.anchor(), r.clock, unsynced)
	if err != nil {
		return nil, err
	}
	if err := c.Refresh(r.t.Context(), r, nil); err != nil {
		return nil, err
	}
	return c.Assignment(r.t.Context(), r, host)
}

// mustUpdate is update that has to give the host this content.
func (r *repo) mustUpdate(dir, host, content string) {
	r.t.Helper()
	a, err := r.update(dir, host)
	if err != nil {
		r.t.Fatalf("update: %v", err)
	}
	if a.SHA256 != schema.DigestOf([]byte(content)) {
		r.t.Fatalf("%s is given another package than %q", host, content)
	}
}
