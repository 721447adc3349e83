// Package trusttest simulates a TUF repository in memory, for all tests that need signed metadata.
//
//	Repo     a repository of any shape: keys, the four top-level roles, delegations, targets
//	Fleet    the Repo that a fleet's is: policy, hashed bins, what each host is given, packages with their statements
//
// A test is the publisher: it changes metadata at will and publishes them, signed, as a careless or hostile publisher
// would; nothing is checked. It is also whoever is between publisher and client: Files and Objects are what is served,
// and may be bent, exchanged or taken away after they were signed. A Repo is a source for clients by itself and an
// http.Handler; the host program's tests put a server before a Fleet.
//
// It shares no code with package trust but go-tuf, and states formats once more (DSSE's encoding, the fields that a
// fleet adds to TUF), so that a mistake in one is no mistake in both. What cannot happen in memory panics. No program
// links it.
package trusttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const day = 24 * time.Hour

// Repo is a repository. Its metadata may be changed at will before Publish signs them; only Metadata, Open and Target
// may be called by several goroutines at a time.
type Repo struct {
	Now       time.Time
	Root      *metadata.Metadata[metadata.RootType]
	Timestamp *metadata.Metadata[metadata.TimestampType]
	Snapshot  *metadata.Metadata[metadata.SnapshotType]
	Targets   map[string]*metadata.Metadata[metadata.TargetsType] // "targets", and what is delegated
	Signers   map[string][]Key                                    // by role

	HashedSnapshot bool // the timestamp lists the snapshot with length and hash
	HashedTargets  bool // so does the snapshot with targets and what is delegated

	Files map[string][]byte // what is served: "2.root.json", "1.a/b.json", "timestamp.json"
	Fail  map[string]error  // what asking for a file ends with, by its name as it is asked for

	latest  map[string]string // name of the file published last, by role
	content map[string][]byte // of targets
	mu      sync.Mutex
	asked   []string
	fetched []string
}

// New makes a repository of the four top-level roles, each with a key, all in version 1 and valid for 30 days.
func New(now time.Time) *Repo {
	r := newRepo(now, now.Add(30*day))
	r.Publish(metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP, metadata.ROOT)
	return r
}

// newRepo has published nothing yet.
func newRepo(now, expires time.Time) *Repo {
	expires = expires.UTC().Truncate(time.Second)
	r := &Repo{Now: now, Root: metadata.Root(expires), Timestamp: metadata.Timestamp(expires),
		Snapshot: metadata.Snapshot(expires), Signers: map[string][]Key{},
		Targets: map[string]*metadata.Metadata[metadata.TargetsType]{metadata.TARGETS: metadata.Targets(expires)},
		Files:   map[string][]byte{}, Fail: map[string]error{},
		latest: map[string]string{}, content: map[string][]byte{}}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r.Allow(role, NewKey())
	}
	return r
}

// Clone is a repository that serves the same, and can be bent without bending r. They share their metadata.
func (r *Repo) Clone() *Repo {
	return &Repo{Now: r.Now, Root: r.Root, Timestamp: r.Timestamp, Snapshot: r.Snapshot, Targets: r.Targets,
		Signers: r.Signers, HashedSnapshot: r.HashedSnapshot, HashedTargets: r.HashedTargets,
		Files: maps.Clone(r.Files), Fail: maps.Clone(r.Fail), latest: maps.Clone(r.latest), content: maps.Clone(r.content)}
}

// Allow lists keys for a top-level role, and signs with them from now on.
func (r *Repo) Allow(role string, keys ...Key) {
	for _, k := range keys {
		must(r.Root.Signed.AddKey(k.Pub, role))
		r.Signers[role] = append(r.Signers[role], k)
	}
}

// Rotate takes a top-level role's keys away and gives it a new one. A root that is published next is signed by the old
// and the new root keys, as it must be.
func (r *Repo) Rotate(role string) Key {
	for _, id := range append([]string{}, r.Root.Signed.Roles[role].KeyIDs...) {
		must(r.Root.Signed.RevokeKey(id, role))
	}
	if role != metadata.ROOT {
		r.Signers[role] = nil
	}
	k := NewKey()
	r.Allow(role, k)
	return k
}

// Delegate lets delegator delegate to role d, with a key of its own that signs from now on.
func (r *Repo) Delegate(delegator string, d metadata.DelegatedRole) Key {
	ds := r.delegations(delegator)
	if d.KeyIDs == nil {
		d.KeyIDs = []string{}
	}
	d.Threshold = max(d.Threshold, 1)
	ds.Roles = append(ds.Roles, d)
	k := NewKey()
	must(r.Targets[delegator].Signed.AddKey(k.Pub, d.Name))
	r.signs(d.Name, k)
	return k
}

// DelegateBins lets delegator delegate to 2^bits hashed bins, which k signs, and returns their names.
func (r *Repo) DelegateBins(delegator string, bits int, prefix string, k Key) []string {
	s := &metadata.SuccinctRoles{KeyIDs: []string{}, Threshold: 1, BitLength: bits, NamePrefix: prefix}
	r.delegations(delegator).SuccinctRoles = s
	must(r.Targets[delegator].Signed.AddKey(k.Pub, ""))
	for _, name := range s.GetRoles() {
		r.signs(name, k)
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

func (r *Repo) signs(role string, k Key) {
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
// that names its version.
func (r *Repo) Publish(roles ...string) {
	for _, role := range roles {
		if r.latest[role] != "" {
			*r.version(role)++
		}
		r.Seal(role)
	}
}

// PublishAll is Publish of these targets roles, then snapshot and timestamp.
func (r *Repo) PublishAll(roles ...string) {
	r.Publish(append(roles, metadata.SNAPSHOT, metadata.TIMESTAMP)...)
}

// Seal is Publish of roles under the versions that they have.
func (r *Repo) Seal(roles ...string) {
	for _, role := range roles {
		b := r.Signed(role, r.Signers[role]...)
		version := *r.version(role)
		name := fmt.Sprintf("%d.%s.json", version, role)
		switch role {
		case metadata.ROOT:
			// The keys that the root before had sign for the last time.
			r.Signers[role] = listed(r.Signers[role], r.Root.Signed.Roles[role].KeyIDs)
		case metadata.TIMESTAMP:
			name = "timestamp.json"
		case metadata.SNAPSHOT:
			r.Timestamp.Signed.Meta["snapshot.json"] = meta(version, b, r.HashedSnapshot)
		default:
			r.Snapshot.Signed.Meta[role+".json"] = meta(version, b, r.HashedTargets)
		}
		r.Files[name], r.latest[role] = b, name
	}
}

// listed are the keys that a role lists.
func listed(keys []Key, ids []string) (left []Key) {
	for _, k := range keys {
		for _, id := range ids {
			if k.ID() == id {
				left = append(left, k)
				break
			}
		}
	}
	return left
}

func meta(version int64, b []byte, hashed bool) *metadata.MetaFiles {
	f := metadata.MetaFile(version)
	if hashed {
		sum := sha256.Sum256(b)
		f.Length, f.Hashes = int64(len(b)), metadata.Hashes{"sha256": sum[:]}
	}
	return f
}

func (r *Repo) version(role string) *int64 {
	switch role {
	case metadata.ROOT:
		return &r.Root.Signed.Version
	case metadata.TIMESTAMP:
		return &r.Timestamp.Signed.Version
	case metadata.SNAPSHOT:
		return &r.Snapshot.Signed.Version
	}
	return &r.Targets[role].Signed.Version
}

// Signed is a role's metadata as they are now, signed by exactly these keys, whether they may or not. Nothing is
// published.
func (r *Repo) Signed(role string, keys ...Key) []byte {
	switch role {
	case metadata.ROOT:
		return Sign(r.Root, keys...)
	case metadata.TIMESTAMP:
		return Sign(r.Timestamp, keys...)
	case metadata.SNAPSHOT:
		return Sign(r.Snapshot, keys...)
	}
	return Sign(r.Targets[role], keys...)
}

// Forget removes all that was published of a role, so that its next version is the one that it has.
func (r *Repo) Forget(role string) {
	delete(r.latest, role)
	maps.DeleteFunc(r.Files, func(name string, _ []byte) bool {
		_, of, _ := strings.Cut(name, ".")
		return of == role+".json" || name == role+".json"
	})
}

// Latest is what was published last of a role.
func (r *Repo) Latest(role string) []byte { return r.Files[r.latest[role]] }

// Bend alters what was published last of a role, after it was signed.
func (r *Repo) Bend(role string, how func([]byte) []byte) {
	name := r.latest[role]
	r.Files[name] = how(bytes.Clone(r.Files[name]))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}
