package trusttest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
)

// Fleet is a fleet's repository, as reconcile publishes it. Its fields may be changed before Release signs them.
type Fleet struct {
	*Repo
	Name    string
	Anchor  []byte // the first root
	Package Key    // signs packages
	Policy  schema.Policy
	More    map[string]any // further top-level targets by name, such as access

	Objects map[string][]byte            // what is served beside Files, by store key
	Given   map[string]schema.Assignment // by host

	bins    []string
	changed map[string]bool
	release int64
}

// NewFleet makes a fleet without hosts, whose root lists a key for each role. Release publishes it.
func NewFleet(now time.Time, bins int) *Fleet {
	now = now.UTC().Truncate(time.Second)
	f := &Fleet{Repo: newRepo(now, now.Add(365*day)), Name: "acme", Package: NewKey(), More: map[string]any{},
		Objects: map[string][]byte{}, Given: map[string]schema.Assignment{}, changed: map[string]bool{}}
	f.HashedSnapshot = true
	f.Policy = schema.Policy{Schema: schema.PolicySchema, Fleet: f.Name, Enabled: true, Issued: now,
		Rings: []schema.Ring{{Name: "all"}}, Sites: map[string]schema.Site{}}
	f.Root.Signed.UnrecognizedFields = custom(map[string]any{"fleet": f.Name, "bins": bins})
	f.Publish(metadata.ROOT)
	f.Anchor = f.Latest(metadata.ROOT)
	f.bins = f.DelegateBins(metadata.TARGETS, bits.Len(uint(bins-1)), schema.BinPrefix, f.Signers[metadata.TARGETS][0])
	for _, role := range append(f.bins, metadata.TARGETS) {
		f.Targets[role].Signed.UnrecognizedFields = custom(map[string]any{"role": role})
	}
	for _, bin := range f.bins {
		f.changed[bin] = true
	}
	return f
}

// RotateBins takes the bins' key away and gives them k, from the next release on.
func (f *Fleet) RotateBins(k Key) {
	d := f.Targets[metadata.TARGETS].Signed.Delegations
	d.Keys, d.SuccinctRoles.KeyIDs = map[string]*metadata.Key{k.ID(): k.Pub}, []string{k.ID()}
	for _, bin := range f.bins {
		f.Signers[bin], f.changed[bin] = []Key{k}, true
	}
}

// custom is what a fleet adds to a role.
func custom(fields map[string]any) map[string]any { return map[string]any{"bakehouse": fields} }

// Clone is a fleet that serves the same, and can be bent without bending f. They share their metadata.
func (f *Fleet) Clone() *Fleet {
	g := *f
	g.Repo = f.Repo.Clone()
	g.Objects = maps.Clone(f.Objects)
	return &g
}

// Bin is the role that lists a host's package.
func (f *Fleet) Bin(host string) string {
	top := f.Targets[metadata.TARGETS].Signed.Delegations.SuccinctRoles
	return top.GetRolesForTarget(schema.PackageTarget(host))[0].Name
}

// Offer is the custom data of a package that a host of the only ring is given now.
func (f *Fleet) Offer(manifest schema.Digest, recipe schema.RecipeID, release int64) schema.Target {
	return schema.Target{Manifest: manifest, Recipe: recipe, Site: "central", Ring: "all", Selected: true,
		Release: release, Since: f.Now}
}

// Assign gives a host a package, from the next release on.
func (f *Fleet) Assign(a schema.Assignment) {
	bin := f.Bin(a.Host)
	data := json.RawMessage(must1(json.Marshal(a.Target)))
	f.Targets[bin].Signed.Targets[schema.PackageTarget(a.Host)] = &metadata.TargetFiles{Length: a.Length,
		Hashes: metadata.Hashes{"sha256": a.SHA256[:]}, Custom: &data}
	f.Given[a.Host], f.changed[bin] = a, true
}

// Remove takes a host's package away.
func (f *Fleet) Remove(host string) {
	bin := f.Bin(host)
	delete(f.Targets[bin].Signed.Targets, schema.PackageTarget(host))
	delete(f.Given, host)
	f.changed[bin] = true
}

// Release publishes all that has changed, and these bins, then targets, snapshot and timestamp, with what they live for
// by default.
func (f *Fleet) Release(bins ...string) {
	for _, name := range bins {
		f.changed[name] = true
	}
	top := f.Targets[metadata.TARGETS]
	top.Signed.Expires = f.Now.Add(365 * day)
	f.Snapshot.Signed.Expires, f.Timestamp.Signed.Expires = f.Now.Add(30*day), f.Now.Add(7*day)
	f.put(schema.PolicyTarget, f.Policy)
	for name, v := range f.More {
		f.put(name, v)
	}
	for _, name := range f.bins {
		if f.changed[name] {
			f.Targets[name].Signed.Expires = f.Now.Add(365 * day)
			f.Publish(name)
		}
		f.Snapshot.Signed.Meta[name+".json"] = metadata.MetaFile(f.Targets[name].Signed.Version)
	}
	clear(f.changed)
	f.Publish(metadata.TARGETS)
	f.Plant()
	f.Publish(metadata.SNAPSHOT, metadata.TIMESTAMP)
}

// Plant makes the files that were published last of targets and bins the tree that the next snapshot names.
func (f *Fleet) Plant() {
	var lines []string
	for _, role := range append(slices.Clone(f.bins), metadata.TARGETS) {
		sum := sha256.Sum256(f.Latest(role))
		lines = append(lines, fmt.Sprintf("%s %d %x", role, *f.version(role), sum))
	}
	slices.Sort(lines)
	root := merkle(lines)
	key := "trees/" + hex.EncodeToString(root[:1]) + "/" + hex.EncodeToString(root)
	f.Objects[key] = []byte(strings.Join(lines, "\n") + "\n")
	f.Snapshot.Signed.UnrecognizedFields = custom(map[string]any{"tree": base64.StdEncoding.EncodeToString(root)})
}

// merkle is the tree hash of RFC 6962, written as its definition stands there.
func merkle(d []string) []byte {
	if len(d) == 1 {
		sum := sha256.Sum256([]byte("\x00" + d[0]))
		return sum[:]
	}
	k := 1
	for 2*k < len(d) {
		k *= 2
	}
	sum := sha256.Sum256(slices.Concat([]byte{1}, merkle(d[:k]), merkle(d[k:])))
	return sum[:]
}

// Tree reads the lines of a tree by its root.
func (f *Fleet) Tree(_ context.Context, root schema.Digest, _ int64) ([]byte, error) {
	if err := f.ask("tree"); err != nil {
		return nil, err
	}
	b, ok := f.Objects[schema.TreeKey(root)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

// put makes v a top-level target.
func (f *Fleet) put(target string, v any) {
	b := must1(json.Marshal(v))
	d := schema.DigestOf(b)
	f.Objects[schema.TargetKey(d)] = b
	f.Targets[metadata.TARGETS].Signed.Targets[target] = &metadata.TargetFiles{Length: int64(len(b)),
		Hashes: metadata.Hashes{"sha256": d[:]}}
}

// Target reads a top-level target by its digest; the name is only noted.
func (f *Fleet) Target(_ context.Context, name string, d schema.Digest, _ int64) ([]byte, error) {
	if err := f.ask(name); err != nil {
		return nil, err
	}
	b, ok := f.Objects[schema.TargetKey(d)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}
