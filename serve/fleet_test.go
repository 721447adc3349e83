package serve

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// fleet writes a simulated fleet into a real store, with packages that are two shared segments between literals.
type fleet struct {
	*trusttest.Fleet
	t      testing.TB
	dir    string
	store  store.Store
	access schema.Access
	shared [][]byte        // contents of the segments that all packages use
	stored map[string]bool // what was written, even if it is there no longer
	number int64           // of the newest release
}

// pack is a package in the store.
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
	st, err := stores.Open(t.Context(), dir)
	check(t, err)
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	check(t, err)
	may := func(hosts string) map[string][]string {
		return map[string][]string{schema.PermRegister: {hosts}, schema.PermDownload: {hosts}, schema.PermRevoke: {hosts},
			schema.PermToken: {hosts}}
	}
	f := &fleet{Fleet: trusttest.NewFleet(time.Now(), bins), t: t, dir: dir, store: st, stored: map[string]bool{},
		access: schema.Access{Schema: 1, Users: map[string]schema.User{
			"installer": {Hash: string(hash), Permissions: may("~.*")},
			"webteam":   {Hash: string(hash), Permissions: may("~web.*")},
			"idle":      {Hash: string(hash)},
			"mia":       {Hash: string(hash), Permissions: map[string][]string{schema.PermView: {"~.*"}}},
		}},
		shared: [][]byte{noise(40000), noise(3000)},
	}
	f.Policy.Sites["central"] = schema.Site{URL: "https://bakehouse.example"}
	f.More[schema.AccessTarget] = &f.access
	f.More[schema.AboutTarget] = &schema.About{Schema: schema.AboutSchema, Subject: "for servers only"}
	f.save()
	return f
}

// standardFleet has two hosts in every bin, web01 and up, all with packages of their own, and is published.
func standardFleet(t testing.TB) (f *fleet, packs map[string]pack) {
	f = newFleet(t)
	packs = map[string]pack{}
	count := map[string]int{}
	for i := 1; len(packs) < 2*fleetBins; i++ {
		host := fmt.Sprintf("web%02d", i)
		if bin := f.Bin(host); count[bin] < 2 {
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

// save writes what is new to the store.
func (f *fleet) save() {
	f.t.Helper()
	write := func(key string, b []byte) {
		if !f.stored[key] {
			f.create(key, b)
			f.stored[key] = true
		}
	}
	for key, b := range f.Objects {
		write(key, b)
	}
	for name, b := range f.Files {
		if name != "timestamp.json" {
			write(schema.MetadataDir+name, b)
		}
	}
	if b, ok := f.Files["timestamp.json"]; ok { // which makes it a release
		write(schema.TimestampKey(f.Timestamp.Signed.Version), b)
	}
}

func (f *fleet) create(key string, b []byte) {
	f.t.Helper()
	check(f.t, store.CreateBytes(f.t.Context(), f.store, key, b))
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

// bake puts a package with content of its own into the store.
func (f *fleet) bake(own string) pack {
	f.t.Helper()
	pieces := []trusttest.Piece{{Bytes: []byte("head ")}}
	for _, seg := range append(f.shared[:len(f.shared):len(f.shared)], []byte("segment of "+own)) {
		ref := schema.SegmentRef{Payload: schema.DigestOf(append([]byte("payload"), seg...)), PayloadSize: 1}
		pieces = append(pieces, trusttest.Piece{Bytes: seg, Segment: &ref})
	}
	pieces = append(pieces, trusttest.Piece{Bytes: []byte(" tail of " + own)})
	made := f.Pack(schema.Manifest{Version: "1.0~" + own[:1], Recipe: "0123456789abcdef", Format: schema.Deb,
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}}, pieces...)
	p := pack{bytes: made.Bytes, digest: made.Manifest.SHA256, manifest: f.Put(made)}
	for _, ref := range made.Manifest.Segments() {
		p.segments = append(p.segments, ref.Digest)
	}
	// Written by hand, so that it can be seen whether the server changes a byte of it.
	f.PutStatements(p.manifest, nil)
	f.Objects[schema.StatementKey(p.manifest, "key1")] = []byte("{\n \"payloadType\": \"" + schema.StatementType +
		"\", \"of\": \"" + p.digest.Short() + "\" }\n")
	f.save()
	return p
}

// assign gives host the package p in a release, and keeps older ones as candidates.
func (f *fleet) assign(host string, release int64, p pack, older ...pack) {
	a := schema.Assignment{Host: host, SHA256: p.digest, Length: int64(len(p.bytes)),
		Target: f.Offer(p.manifest, "0123456789abcdef", release)}
	for i, o := range older {
		a.Older = append(a.Older, schema.Candidate{SHA256: o.digest, Length: int64(len(o.bytes)), Manifest: o.manifest,
			Recipe: "0123456789abcdef", Release: release - int64(i) - 1, Since: f.Now})
	}
	f.Assign(a)
}

// publish makes the next release of all that was assigned.
func (f *fleet) publish() {
	f.t.Helper()
	f.Policy.Issued = f.Policy.Issued.Add(time.Second)
	f.number++
	f.More[schema.ReleaseTarget] = schema.Release{Schema: 1, Number: f.number, Issued: f.Policy.Issued}
	f.Release()
	f.save()
}

func (f *fleet) removeKey(key string) {
	f.t.Helper()
	check(f.t, os.Remove(filepath.Join(f.dir, filepath.FromSlash(key))))
}
