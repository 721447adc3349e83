// Package testfleet is a small fleet for the host program's tests: keys, packages and signed metadata in memory, behind a
// TLS server that a test can bend at every point. It signs whatever it is told to, as a careless or hostile publisher
// would, so that tests can show what a host refuses even then.
package testfleet

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/schema"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// The user who may register hosts.
const (
	User     = "ops"
	Password = "correct horse"
)

const bins = 4

// Key is a key pair.
type Key struct {
	Name   string
	PEM    string // public half
	ID     string
	signer signature.Signer
	tuf    *metadata.Key
}

// NewKey makes a key pair.
func NewKey(t testing.TB, name string) Key {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	return KeyOf(t, name, priv)
}

// KeyOf is a key pair that was made elsewhere, of any type that TUF knows.
func KeyOf(t testing.TB, name string, priv crypto.Signer) Key {
	t.Helper()
	s, err := signature.LoadSigner(priv, crypto.SHA256)
	if k, ok := priv.(*rsa.PrivateKey); ok {
		s, err = signature.LoadRSAPSSSigner(k, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256})
	}
	check(t, err)
	k, err := metadata.KeyFromPublicKey(priv.Public())
	check(t, err)
	id, err := k.ID()
	check(t, err)
	p, err := cryptoutils.MarshalPublicKeyToPEM(priv.Public())
	check(t, err)
	return Key{name, string(p), id, s, k}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Fleet is the publisher and its server. Fields and methods may be used by one test at a time.
type Fleet struct {
	Name    string
	Package Key // signs packages
	Policy  schema.Policy
	Anchor  []byte
	URL     string
	CA      []byte // PEM

	t       testing.TB
	server  *httptest.Server
	keys    map[string]Key // by role
	targets *metadata.Metadata[metadata.TargetsType]
	snap    *metadata.Metadata[metadata.SnapshotType]
	stamp   *metadata.Metadata[metadata.TimestampType]
	bins    map[string]*metadata.Metadata[metadata.TargetsType]

	mu         sync.Mutex
	now        time.Time
	release    int64
	given      map[string]schema.Target
	head       []byte // newest timestamp
	version    int64
	files      map[string][]byte // metadata by name
	contents   map[schema.Digest][]byte
	manifests  map[schema.Digest][]byte // packed
	segments   map[schema.Digest][]byte
	statements map[schema.Digest][]json.RawMessage
	secrets    map[string]string
	reports    []schema.PollRequest
	requests   []string
	hold       string
	bend       func(http.ResponseWriter, *http.Request) bool
}

// New makes a fleet without hosts, and serves it until the test ends. Its clock stands still.
func New(t testing.TB) *Fleet {
	t.Helper()
	return NewAt(t, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
}

// NewAt is New at a given time.
func NewAt(t testing.TB, now time.Time) *Fleet {
	t.Helper()
	f := &Fleet{Name: "acme", t: t, now: now.UTC().Truncate(time.Second), Package: NewKey(t, "release"),
		keys: map[string]Key{}, bins: map[string]*metadata.Metadata[metadata.TargetsType]{}, given: map[string]schema.Target{},
		files: map[string][]byte{}, contents: map[schema.Digest][]byte{}, manifests: map[schema.Digest][]byte{},
		segments: map[schema.Digest][]byte{}, statements: map[schema.Digest][]json.RawMessage{}, secrets: map[string]string{}}
	f.Policy = schema.Policy{Schema: schema.PolicySchema, Fleet: f.Name, Enabled: true, Rings: []schema.Ring{{Name: "all"}}}
	f.server = httptest.NewTLSServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.server.Close)
	f.server.Config.ErrorLog = Discard
	f.URL = f.server.URL
	f.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})

	root := metadata.Root(f.now.AddDate(1, 0, 0))
	root.Signed.UnrecognizedFields = map[string]any{trust.RootField: trust.RootInfo{Fleet: f.Name, Bins: bins}}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		f.keys[role] = NewKey(t, role)
		check(t, root.Signed.AddKey(f.keys[role].tuf, role))
	}
	f.Anchor = sign(t, root, f.keys[metadata.ROOT])
	f.files["1.root.json"] = f.Anchor

	f.targets = metadata.Targets()
	f.targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, SuccinctRoles: &metadata.SuccinctRoles{
		KeyIDs: []string{}, Threshold: 1, BitLength: bits.Len(bins - 1), NamePrefix: schema.BinPrefix}}
	check(t, f.targets.Signed.AddKey(f.keys[metadata.TARGETS].tuf, ""))
	f.snap, f.stamp = metadata.Snapshot(), metadata.Timestamp()
	for _, name := range f.targets.Signed.Delegations.SuccinctRoles.GetRoles() {
		f.bins[name] = metadata.Targets()
	}
	f.Publish()
	return f
}

// Now is the clock of the fleet and its hosts.
func (f *Fleet) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Pass moves the clock.
func (f *Fleet) Pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

// Add makes a host known without a package of its own.
func (f *Fleet) Add(hosts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range hosts {
		if _, ok := f.secrets[h]; !ok {
			f.secrets[h] = ""
		}
	}
}

// Give assigns p to the host as the next release, with the package before it as older candidate, and publishes.
func (f *Fleet) Give(host string, p *Package) {
	f.t.Helper()
	f.GiveBent(host, p, func(*schema.Target) {})
}

// GiveBent is Give with the target's custom data changed before it is signed.
func (f *Fleet) GiveBent(host string, p *Package, bend func(*schema.Target)) {
	f.t.Helper()
	f.Add(host)
	digest := f.store(p)
	f.mu.Lock()
	f.release++
	t := schema.Target{Manifest: digest, Recipe: p.Manifest.Recipe, Site: "central", Ring: "all", Selected: true,
		Release: f.release, Since: f.now}
	name := schema.PackageTarget(host)
	bin := f.targets.Signed.Delegations.SuccinctRoles.GetRolesForTarget(name)[0].Name
	if old, ok := f.bins[bin].Signed.Targets[name]; ok {
		was := f.given[host]
		d, err := schema.ParseHex(fmt.Sprintf("%x", []byte(old.Hashes["sha256"])))
		check(f.t, err)
		t.Older = []schema.Candidate{{SHA256: d, Length: old.Length, Manifest: was.Manifest, Recipe: was.Recipe, Release: was.Release, Since: was.Since}}
	}
	bend(&t)
	f.given[host] = t
	custom, err := json.Marshal(t)
	check(f.t, err)
	sum := p.Manifest.SHA256
	f.bins[bin].Signed.Targets[name] = &metadata.TargetFiles{Length: p.Manifest.Size,
		Hashes: metadata.Hashes{"sha256": sum[:]}, Custom: (*json.RawMessage)(&custom)}
	f.mu.Unlock()
	f.Publish()
}

// store serves p's manifest, segments and statements.
func (f *Fleet) store(p *Package) schema.Digest {
	f.t.Helper()
	b, err := p.Manifest.Marshal() // not Encode: a bent manifest is published as well
	check(f.t, err)
	digest := schema.DigestOf(b)
	signers := p.Signers
	if signers == nil {
		signers = []Key{f.Package}
	}
	statement := schema.StatementFor(p.Manifest, digest)
	if p.Statement != nil {
		statement = *p.Statement
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manifests[digest] = gzipped(b)
	maps.Copy(f.segments, p.segments)
	f.statements[p.Manifest.SHA256] = []json.RawMessage{}
	for _, k := range signers {
		f.statements[p.Manifest.SHA256] = append(f.statements[p.Manifest.SHA256], envelope(f.t, k, statement))
	}
	return digest
}

func envelope(t testing.TB, k Key, s schema.Statement) json.RawMessage {
	t.Helper()
	payload, err := json.Marshal(s)
	check(t, err)
	sig, err := k.signer.SignMessage(reader(trust.PAE(schema.StatementType, payload)))
	check(t, err)
	b, err := json.Marshal(map[string]any{"payloadType": schema.StatementType, "payload": base64.StdEncoding.EncodeToString(payload),
		"signatures": []map[string]string{{"keyid": k.ID, "sig": base64.StdEncoding.EncodeToString(sig)}}})
	check(t, err)
	return b
}

// Publish signs everything anew under the next versions.
func (f *Fleet) Publish() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	v := f.version
	f.Policy.Issued = f.now
	policy, err := json.Marshal(f.Policy)
	check(f.t, err)
	d := schema.DigestOf(policy)
	f.contents[d] = policy
	f.targets.Signed.Targets[schema.PolicyTarget] = &metadata.TargetFiles{Length: int64(len(policy)), Hashes: metadata.Hashes{"sha256": d[:]}}
	for name, md := range f.bins {
		md.Signed.Version, md.Signed.Expires = v, f.now.AddDate(1, 0, 0)
		f.files[fmt.Sprintf("%d.%s.json", v, name)] = sign(f.t, md, f.keys[metadata.TARGETS])
		f.snap.Signed.Meta[name+".json"] = metadata.MetaFile(v)
	}
	f.targets.Signed.Version, f.targets.Signed.Expires = v, f.now.AddDate(1, 0, 0)
	f.files[fmt.Sprintf("%d.targets.json", v)] = sign(f.t, f.targets, f.keys[metadata.TARGETS])
	f.snap.Signed.Meta["targets.json"] = metadata.MetaFile(v)
	f.snap.Signed.Version, f.snap.Signed.Expires = v, f.now.AddDate(0, 0, 30)
	f.files[fmt.Sprintf("%d.snapshot.json", v)] = sign(f.t, f.snap, f.keys[metadata.SNAPSHOT])
	f.stamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(v)
	f.stamp.Signed.Version, f.stamp.Signed.Expires = v, f.now.AddDate(0, 0, 7)
	f.head = sign(f.t, f.stamp, f.keys[metadata.TIMESTAMP])
}

func sign[T metadata.Roles](t testing.TB, md *metadata.Metadata[T], k Key) []byte {
	t.Helper()
	md.ClearSignatures()
	_, err := md.Sign(k.signer)
	check(t, err)
	b, err := md.ToBytes(false)
	check(t, err)
	return b
}
