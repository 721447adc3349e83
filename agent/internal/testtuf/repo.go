// Package testtuf is a TUF repository of any shape, in memory, for tests of the client: it publishes version after
// version of each role, remembers what was asked for, and can be bent after it has signed. Package testfleet has the
// repositories that fleets have.
package testtuf

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const day = 24 * time.Hour

// Key is a key pair. Pub may be changed before it is listed anywhere; ID is how it then has to be listed.
type Key struct {
	Pub    *metadata.Key
	signer signature.Signer
}

// ID is the key's id.
func (k Key) ID() string {
	id, err := k.Pub.ID()
	if err != nil {
		panic(err)
	}
	return id
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewKey makes a key pair of the type "ed25519", "ecdsa" or "rsa" (always the same one).
func NewKey(t testing.TB, kind string) Key {
	t.Helper()
	var s signature.Signer
	var err error
	switch kind {
	case "ed25519":
		var priv ed25519.PrivateKey
		if _, priv, err = ed25519.GenerateKey(rand.Reader); err == nil {
			s, err = signature.LoadSigner(priv, crypto.Hash(0))
		}
	case "ecdsa":
		var priv *ecdsa.PrivateKey
		if priv, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			s, err = signature.LoadSigner(priv, crypto.SHA256)
		}
	case "rsa":
		var priv *rsa.PrivateKey
		if priv, err = rsaKey(); err == nil {
			s, err = signature.LoadRSAPSSSigner(priv, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
	default:
		t.Fatalf("no keys of type %s", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	pub, err := s.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return Key{k, s}
}

// Repo is a repository. Its metadata may be changed at will before Publish signs them.
type Repo struct {
	t         testing.TB
	Now       time.Time
	Root      *metadata.Metadata[metadata.RootType]
	Timestamp *metadata.Metadata[metadata.TimestampType]
	Snapshot  *metadata.Metadata[metadata.SnapshotType]
	Targets   map[string]*metadata.Metadata[metadata.TargetsType] // "targets", and what is delegated
	Signers   map[string][]Key                                    // by role
	Hashed    bool                                                // timestamp and snapshot list lengths and hashes

	mu        sync.Mutex
	published map[string][][]byte // by role, version 1 first
	content   map[string][]byte
	asked     []string
	fetched   []string
}

// New makes a repository of the four top-level roles, each with a key, all in version 1, and valid for 30 days from now.
func New(t testing.TB, now time.Time) *Repo {
	t.Helper()
	expires := now.Add(30 * day).UTC().Truncate(time.Second)
	r := &Repo{t: t, Now: now, Root: metadata.Root(expires), Timestamp: metadata.Timestamp(expires), Snapshot: metadata.Snapshot(expires),
		Targets: map[string]*metadata.Metadata[metadata.TargetsType]{metadata.TARGETS: metadata.Targets(expires)},
		Signers: map[string][]Key{}, published: map[string][][]byte{}, content: map[string][]byte{}}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r.Allow(role, NewKey(t, "ed25519"))
	}
	r.Publish(metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP, metadata.ROOT)
	return r
}

// Allow lists a key for a top-level role, and signs with it from now on.
func (r *Repo) Allow(role string, k Key) {
	r.t.Helper()
	if err := r.Root.Signed.AddKey(k.Pub, role); err != nil {
		r.t.Fatal(err)
	}
	r.Signers[role] = append(r.Signers[role], k)
}

// Rotate takes a top-level role's keys away and gives it a new one.
func (r *Repo) Rotate(role string) {
	r.t.Helper()
	r.Root.Signed.Roles[role].KeyIDs = []string{}
	r.Signers[role] = nil
	r.Allow(role, NewKey(r.t, "ed25519"))
}

// Delegate lets delegator delegate to role d, with a key of its own that signs from now on.
func (r *Repo) Delegate(delegator string, d metadata.DelegatedRole) Key {
	r.t.Helper()
	ds := r.delegations(delegator)
	if d.KeyIDs == nil {
		d.KeyIDs = []string{}
	}
	d.Threshold = max(d.Threshold, 1)
	ds.Roles = append(ds.Roles, d)
	k := NewKey(r.t, "ed25519")
	if err := r.Targets[delegator].Signed.AddKey(k.Pub, d.Name); err != nil {
		r.t.Fatal(err)
	}
	r.sign(d.Name, k)
	return k
}

// DelegateBins lets delegator delegate to 2^bits hashed bins, and returns their names.
func (r *Repo) DelegateBins(delegator string, bits int, prefix string) []string {
	r.t.Helper()
	s := &metadata.SuccinctRoles{KeyIDs: []string{}, Threshold: 1, BitLength: bits, NamePrefix: prefix}
	r.delegations(delegator).SuccinctRoles = s
	k := NewKey(r.t, "ed25519")
	if err := r.Targets[delegator].Signed.AddKey(k.Pub, ""); err != nil {
		r.t.Fatal(err)
	}
	for _, name := range s.GetRoles() {
		r.sign(name, k)
	}
	return s.GetRoles()
}

func (r *Repo) delegations(delegator string) *metadata.Delegations {
	md := r.Targets[delegator]
	if md.Signed.Delegations == nil {
		md.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	return md.Signed.Delegations
}

func (r *Repo) sign(role string, k Key) {
	r.Signers[role] = append(r.Signers[role], k)
	if r.Targets[role] == nil {
		r.Targets[role] = metadata.Targets(r.Root.Signed.Expires)
	}
}

// Add lists a target in a role, by sha256, and serves it.
func (r *Repo) Add(role, target, content string) *metadata.TargetFiles {
	sum := sha256.Sum256([]byte(content))
	f := &metadata.TargetFiles{Length: int64(len(content)), Hashes: metadata.Hashes{"sha256": sum[:]}, Path: target}
	r.Targets[role].Signed.Targets[target] = f
	r.Serve(target, content)
	return f
}

// Serve serves other content under a target's path than what is signed.
func (r *Repo) Serve(target, content string) { r.content[target] = []byte(content) }

// Publish signs the roles in this order, each under the next version but for its first time, and lists each in the one
// that comes after it.
func (r *Repo) Publish(roles ...string) {
	r.t.Helper()
	for _, role := range roles {
		next := int64(0)
		if len(r.published[role]) > 0 {
			next = 1
		}
		var b []byte
		switch role {
		case metadata.ROOT:
			r.Root.Signed.Version += next
			b = signed(r.t, r.Root, r.Signers[role])
		case metadata.TIMESTAMP:
			r.Timestamp.Signed.Version += next
			b = signed(r.t, r.Timestamp, r.Signers[role])
		case metadata.SNAPSHOT:
			r.Snapshot.Signed.Version += next
			b = signed(r.t, r.Snapshot, r.Signers[role])
			r.Timestamp.Signed.Meta["snapshot.json"] = r.listed(r.Snapshot.Signed.Version, b)
		default:
			md := r.Targets[role]
			md.Signed.Version += next
			b = signed(r.t, md, r.Signers[role])
			r.Snapshot.Signed.Meta[role+".json"] = r.listed(md.Signed.Version, b)
		}
		r.published[role] = append(r.published[role], b)
	}
}

// PublishAll is Publish of these targets roles, then snapshot and timestamp.
func (r *Repo) PublishAll(roles ...string) {
	r.t.Helper()
	r.Publish(append(roles, metadata.SNAPSHOT, metadata.TIMESTAMP)...)
}

func (r *Repo) listed(version int64, b []byte) *metadata.MetaFiles {
	f := metadata.MetaFile(version)
	if r.Hashed {
		sum := sha256.Sum256(b)
		f.Length, f.Hashes = int64(len(b)), metadata.Hashes{"sha256": sum[:]}
	}
	return f
}

func signed[T metadata.Roles](t testing.TB, md *metadata.Metadata[T], keys []Key) []byte {
	t.Helper()
	md.ClearSignatures()
	for _, k := range keys {
		sig, err := md.Sign(k.signer)
		if err != nil {
			t.Fatal(err)
		}
		// go-tuf derives the id from the public half alone, without the fields that a test may have added to it.
		sig.KeyID = k.ID()
		md.Signatures[len(md.Signatures)-1].KeyID = sig.KeyID
	}
	b, err := md.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Forget removes all that was published of a role.
func (r *Repo) Forget(role string) { delete(r.published, role) }

// Latest is what was published last of a role.
func (r *Repo) Latest(role string) []byte { return r.published[role][len(r.published[role])-1] }

// Bend alters what was published last of a role, after it was signed.
func (r *Repo) Bend(role string, how func([]byte) []byte) {
	all := r.published[role]
	all[len(all)-1] = how(bytes.Clone(all[len(all)-1]))
}

// Asked returns and forgets the names of the metadata files that were asked for, and the paths of targets.
func (r *Repo) Asked() (metadata, targets []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	metadata, targets = r.asked, r.fetched
	r.asked, r.fetched = nil, nil
	return metadata, targets
}

// Metadata reads a file by the name that it has in the way: "1.a%2Fb.json".
func (r *Repo) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, name)
	role, ok := strings.CutSuffix(name, ".json")
	version := 0
	if ok && role != metadata.TIMESTAMP && (r.Root.Signed.ConsistentSnapshot || strings.HasSuffix(role, "."+metadata.ROOT)) {
		var v string
		v, role, ok = strings.Cut(role, ".")
		var err error
		if version, err = strconv.Atoi(v); err != nil || version < 1 {
			return nil, fs.ErrNotExist
		}
	}
	role, err := url.PathUnescape(role)
	all := r.published[role]
	if version == 0 {
		version = len(all)
	}
	if err != nil || !ok || version > len(all) || len(all) == 0 {
		return nil, fs.ErrNotExist
	}
	return all[version-1], nil
}

// Open serves a target by its path, with its hash in the name if the root says so.
func (r *Repo) Open(_ context.Context, at string) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched = append(r.fetched, at)
	target := at
	if r.Root.Signed.ConsistentSnapshot {
		folder, base := path.Split(at)
		hash, name, _ := strings.Cut(base, ".")
		target = folder + name
		if !r.names(target, hash) {
			return nil, fs.ErrNotExist
		}
	}
	b, ok := r.content[target]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (r *Repo) names(target, hash string) bool {
	for _, md := range r.Targets {
		if f := md.Signed.Targets[target]; f != nil {
			for _, h := range f.Hashes {
				if h.String() == hash {
					return true
				}
			}
		}
	}
	return false
}

// ServeHTTP serves metadata under /metadata/ and targets under /targets/.
func (r *Repo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	at := req.URL.EscapedPath()
	var b []byte
	err := fs.ErrNotExist
	if name, ok := strings.CutPrefix(at, "/metadata/"); ok {
		b, err = r.Metadata(req.Context(), name, 0)
	} else if name, ok := strings.CutPrefix(req.URL.Path, "/targets/"); ok {
		var f io.ReadCloser
		if f, err = r.Open(req.Context(), name); err == nil {
			b, err = io.ReadAll(f)
		}
	}
	if err != nil {
		http.Error(w, fmt.Sprint(err), http.StatusNotFound)
		return
	}
	_, _ = w.Write(b)
}

// Without returns the keys but for those at these places.
func Without(keys []Key, places ...int) []Key {
	var left []Key
	for i, k := range keys {
		if !slices.Contains(places, i) {
			left = append(left, k)
		}
	}
	return left
}
