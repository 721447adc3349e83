package serve

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/crypto/bcrypt"

	"bakehouse/schema"
	"bakehouse/serve/store"
)

// fleet publishes into a real store what reconcile would: metadata that the real verifier accepts, and packages that
// are two shared segments between literals.
type fleet struct {
	t       testing.TB
	dir     string
	store   store.Store
	signer  signature.Signer // one key for every role
	key     *metadata.Key
	anchor  []byte
	expires time.Time
	version int64 // of everything but bins
	roles   *metadata.SuccinctRoles
	bins    map[string]*metadata.Metadata[metadata.TargetsType]
	changed map[string]bool
	policy  schema.Policy
	access  schema.Access
	shared  [][]byte // contents of the segments that all packages use
}

// pack is a package that stands in the store.
type pack struct {
	bytes    []byte
	digest   schema.Digest
	manifest schema.Digest
	segments []schema.Digest
}

const fleetBins = 4

const password = "correct horse"

func newFleet(t testing.TB) *fleet { return newFleetOf(t, fleetBins) }

func newFleetOf(t testing.TB, bins int) *fleet {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	st, err := store.Open(t.Context(), dir)
	check(t, err)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	check(t, err)
	key, err := metadata.KeyFromPublicKey(public)
	check(t, err)
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	check(t, err)
	f := &fleet{t: t, dir: dir, store: st, signer: signer, key: key, expires: time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second),
		roles:   &metadata.SuccinctRoles{KeyIDs: []string{}, Threshold: 1, BitLength: bits.Len(uint(bins - 1)), NamePrefix: schema.BinPrefix},
		bins:    map[string]*metadata.Metadata[metadata.TargetsType]{},
		changed: map[string]bool{},
		policy: schema.Policy{Schema: schema.PolicySchema, Fleet: "acme", Enabled: true, Issued: time.Now().UTC().Truncate(time.Second),
			Rings: []schema.Ring{{Name: "all"}}, Sites: map[string]schema.Site{"central": {URL: "https://bakehouse.example"}}},
		access: schema.Access{Schema: 1, Users: map[string]schema.User{
			"installer": {Hash: string(hash), Permissions: map[string][]string{schema.PermRegister: {"~.*"}, schema.PermDownload: {"~.*"}}},
			"webteam":   {Hash: string(hash), Permissions: map[string][]string{schema.PermRegister: {"~web"}, schema.PermDownload: {"~web"}}},
			"idle":      {Hash: string(hash)},
		}},
		shared: [][]byte{noise(40000), noise(3000)},
	}
	root := metadata.Root(time.Now().Add(365 * 24 * time.Hour).UTC().Truncate(time.Second))
	root.Signed.UnrecognizedFields = map[string]any{"bakehouse": map[string]any{"fleet": "acme", "bins": bins}}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		check(t, root.Signed.AddKey(key, role))
	}
	f.anchor = signed(f, root)
	f.put(schema.MetadataKey("root", 1), f.anchor)
	for _, name := range f.roles.GetRoles() {
		f.bins[name] = metadata.Targets(f.expires)
		f.bins[name].Signed.Version = 0 // the first publish makes it 1
		f.changed[name] = true
	}
	return f
}

// standardFleet has two hosts in every bin, web01 and up, all with packages of their own, and is published.
func standardFleet(t testing.TB) (f *fleet, packs map[string]pack) {
	f = newFleet(t)
	packs = map[string]pack{}
	count := map[string]int{}
	for i := 1; len(packs) < 2*fleetBins; i++ {
		host := fmt.Sprintf("web%02d", i)
		if bin := f.bin(host); count[bin] < 2 {
			count[bin]++
			packs[host] = f.bake(host + "'s first")
			f.assign(host, 1, packs[host])
		}
	}
	f.publish()
	return f, packs
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func signed[T metadata.Roles](f *fleet, md *metadata.Metadata[T]) []byte {
	f.t.Helper()
	md.ClearSignatures()
	_, err := md.Sign(f.signer)
	check(f.t, err)
	b, err := md.ToBytes(false)
	check(f.t, err)
	return b
}

func (f *fleet) put(key string, b []byte) {
	f.t.Helper()
	check(f.t, store.CreateBytes(f.t.Context(), f.store, key, b))
}

// putOnce is put that lets the same object be there already.
func (f *fleet) putOnce(key string, b []byte) {
	f.t.Helper()
	if old, err := store.Read(f.t.Context(), f.store, key, 1<<30); err == nil && bytes.Equal(old, b) {
		return
	}
	f.put(key, b)
}

// overwrite alters an object behind the store's back, as a bad disk or an intruder would.
func (f *fleet) overwrite(key string, b []byte) {
	f.t.Helper()
	path := filepath.Join(f.dir, filepath.FromSlash(key))
	_, err := os.Stat(path)
	check(f.t, err)
	check(f.t, os.Remove(path))
	check(f.t, os.WriteFile(path, b, 0o644))
}

func (f *fleet) bin(host string) string {
	return f.roles.GetRolesForTarget(schema.PackageTarget(host))[0].Name
}

// bake puts a package with content of its own into the store.
func (f *fleet) bake(own string) pack {
	f.t.Helper()
	head, tail := []byte("head "), []byte(" tail of "+own)
	m := schema.Manifest{Schema: schema.ManifestSchema, Bake: 1, Name: "bakehouse-agent", Version: "1.0~" + own[:1], Recipe: "0123456789abcdef",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Deb, Anchor: schema.DigestOf(f.anchor)}
	p := pack{bytes: bytes.Clone(head)}
	m.Parts = append(m.Parts, schema.Part{Data: head})
	for _, seg := range append(f.shared[:len(f.shared):len(f.shared)], []byte("segment of "+own)) {
		ref := schema.SegmentRef{Digest: schema.DigestOf(seg), Size: int64(len(seg)), Payload: schema.DigestOf(append([]byte("payload"), seg...)), PayloadSize: 1}
		f.putOnce(schema.SegmentKey(ref.Digest), seg)
		m.Parts = append(m.Parts, schema.Part{Segment: &ref})
		p.bytes = append(p.bytes, seg...)
		p.segments = append(p.segments, ref.Digest)
	}
	m.Parts = append(m.Parts, schema.Part{Data: tail})
	p.bytes = append(p.bytes, tail...)
	p.digest = schema.DigestOf(p.bytes)
	m.Size, m.SHA256 = int64(len(p.bytes)), p.digest
	b, d, err := m.Encode()
	check(f.t, err)
	p.manifest = d
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err = w.Write(b)
	check(f.t, err)
	check(f.t, w.Close())
	f.putOnce(schema.ManifestKey(d), z.Bytes())
	f.putOnce(schema.StatementKey(p.digest, "key1"), []byte("{\n \"payloadType\": \""+schema.StatementType+"\", \"of\": \""+p.digest.Short()+"\" }\n"))
	return p
}

// assign gives host the package p in a release, and keeps older ones as candidates.
func (f *fleet) assign(host string, release int64, p pack, older ...pack) {
	f.t.Helper()
	since := time.Unix(1700000000, 0).UTC()
	t := schema.Target{Manifest: p.manifest, Recipe: "0123456789abcdef", Site: "central", Ring: "all", Selected: true, Release: release, Since: since}
	for i, o := range older {
		t.Older = append(t.Older, schema.Candidate{SHA256: o.digest, Length: int64(len(o.bytes)), Manifest: o.manifest,
			Recipe: "0123456789abcdef", Release: release - int64(i) - 1, Since: since})
	}
	custom, err := json.Marshal(t)
	check(f.t, err)
	bin := f.bin(host)
	f.bins[bin].Signed.Targets[schema.PackageTarget(host)] = &metadata.TargetFiles{Length: int64(len(p.bytes)),
		Hashes: metadata.Hashes{"sha256": p.digest[:]}, Custom: (*json.RawMessage)(&custom)}
	f.changed[bin] = true
}

func (f *fleet) remove(host string) {
	delete(f.bins[f.bin(host)].Signed.Targets, schema.PackageTarget(host))
	f.changed[f.bin(host)] = true
}

// publish makes the next release of all that was assigned.
func (f *fleet) publish() {
	f.t.Helper()
	f.version++
	for name := range f.changed {
		f.bins[name].Signed.Version++
		f.put(schema.MetadataKey(name, f.bins[name].Signed.Version), signed(f, f.bins[name]))
	}
	f.changed = map[string]bool{}
	targets := metadata.Targets(f.expires)
	targets.Signed.Version = f.version
	targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, SuccinctRoles: f.roles}
	check(f.t, targets.Signed.AddKey(f.key, ""))
	f.policy.Issued = f.policy.Issued.Add(time.Second)
	for name, v := range map[string]any{schema.PolicyTarget: f.policy, schema.AccessTarget: f.access,
		schema.ReleaseTarget: schema.Release{Schema: 1, Number: f.version, Issued: f.policy.Issued}} {
		b, err := json.Marshal(v)
		check(f.t, err)
		d := schema.DigestOf(b)
		f.putOnce(schema.TargetKey(d), b)
		targets.Signed.Targets[name] = &metadata.TargetFiles{Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": d[:]}}
	}
	f.put(schema.MetadataKey("targets", f.version), signed(f, targets))
	snapshot := metadata.Snapshot(f.expires)
	snapshot.Signed.Version = f.version
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(f.version)
	for name, md := range f.bins {
		snapshot.Signed.Meta[name+".json"] = metadata.MetaFile(md.Signed.Version)
	}
	f.put(schema.MetadataKey("snapshot", f.version), signed(f, snapshot))
	f.put(schema.TimestampKey(f.version), f.timestamp())
}

// timestamp signs the timestamp of the current version.
func (f *fleet) timestamp() []byte {
	stamp := metadata.Timestamp(f.expires)
	stamp.Signed.Version = f.version
	stamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(f.version)
	return signed(f, stamp)
}

func (f *fleet) removeKey(key string) {
	f.t.Helper()
	check(f.t, os.Remove(filepath.Join(f.dir, filepath.FromSlash(key))))
}
