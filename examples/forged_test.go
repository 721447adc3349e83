package examples_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/tree"
)

// What a thief of keys could sign: metadata and packages that are forged, but by the fleet's own keys.

// read parses a role's file of the store.
func read[T metadata.Roles](b *besieged, md *metadata.Metadata[T], key string) *metadata.Metadata[T] {
	b.t.Helper()
	content, err := os.ReadFile(b.file(key))
	must(b.t, err)
	md, err = md.FromBytes(content)
	must(b.t, err)
	return md
}

// sign is a role's file, signed by those keys alone.
func sign[T metadata.Roles](b *besieged, md *metadata.Metadata[T], keys ...string) []byte {
	var signers []trusttest.Key
	for _, k := range keys {
		signers = append(signers, b.signers[k])
	}
	return trusttest.Sign(md, signers...)
}

// bin is the name of the bin that holds a host's package.
func (b *besieged) bin(host string) string {
	b.t.Helper()
	targets := read(b, metadata.Targets(), schema.MetadataKey(metadata.TARGETS, b.newest(metadata.TARGETS)))
	return targets.Signed.Delegations.SuccinctRoles.GetRolesForTarget(schema.PackageTarget(host))[0].Name
}

// newest is the highest version of a role's file in the store.
func (b *besieged) newest(role string) (version int64) {
	files, _ := filepath.Glob(b.file(schema.MetadataDir + "*." + role + ".json"))
	for _, f := range files {
		var v int64
		if _, err := fmt.Sscanf(filepath.Base(f), "%d.", &v); err == nil {
			version = max(version, v)
		}
	}
	return version
}

// usurp publishes the next state as whoever holds the keys of all roles could: change bends what it says.
func (b *besieged) usurp(change func(bin, targets *metadata.TargetsType, snapshot *metadata.SnapshotType, stamp *metadata.TimestampType)) {
	b.t.Helper()
	name := b.bin("web01")
	bin := read(b, metadata.Targets(), schema.MetadataKey(name, b.newest(name)))
	targets := read(b, metadata.Targets(), schema.MetadataKey(metadata.TARGETS, b.newest(metadata.TARGETS)))
	snapshot := read(b, metadata.Snapshot(), schema.MetadataKey(metadata.SNAPSHOT, b.newest(metadata.SNAPSHOT)))
	stamp := read(b, metadata.Timestamp(), schema.TimestampKey(b.head()))
	bin.Signed.Version++
	targets.Signed.Version++
	snapshot.Signed.Version++
	stamp.Signed.Version++
	snapshot.Signed.Meta[name+".json"] = metadata.MetaFile(bin.Signed.Version)
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(targets.Signed.Version)
	stamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(snapshot.Signed.Version)
	change(&bin.Signed, &targets.Signed, &snapshot.Signed, &stamp.Signed)
	root, err := tree.Signed(snapshot.Signed.UnrecognizedFields)
	must(b.t, err)
	content, err := os.ReadFile(b.file(schema.TreeKey(root)))
	must(b.t, err)
	lines, err := tree.Decode(content, root)
	must(b.t, err)
	for role, md := range map[string]*metadata.Metadata[metadata.TargetsType]{name: bin, metadata.TARGETS: targets} {
		signed := sign(b, md, "assign")
		b.put(schema.MetadataKey(role, md.Signed.Version), signed)
		i := slices.IndexFunc(lines, func(l tree.Line) bool { return l.Role == role })
		lines[i] = tree.Line{Role: role, Version: md.Signed.Version, SHA256: schema.DigestOf(signed)}
	}
	b.put(schema.TreeKey(lines.Root()), lines.Encode())
	snapshot.Signed.UnrecognizedFields = tree.Sign(snapshot.Signed.UnrecognizedFields, lines.Root())
	b.put(schema.MetadataKey(metadata.SNAPSHOT, snapshot.Signed.Version), sign(b, snapshot, "online"))
	b.put(schema.TimestampKey(stamp.Signed.Version), sign(b, stamp, "online"))
}

// custom bends what a bin says of web01's package besides its hash.
func custom(t testing.TB, bin *metadata.TargetsType, change func(*schema.Target)) *metadata.TargetFiles {
	t.Helper()
	file := bin.Targets[schema.PackageTarget("web01")]
	var target schema.Target
	must(t, json.Unmarshal(*file.Custom, &target))
	change(&target)
	raw, err := json.Marshal(target)
	must(t, err)
	file.Custom = (*json.RawMessage)(&raw)
	return file
}

// given is what the newest state gives a host.
func (b *besieged) given(host string) (*metadata.TargetFiles, schema.Target) {
	b.t.Helper()
	name := b.bin(host)
	file := read(b, metadata.Targets(), schema.MetadataKey(name, b.newest(name))).Signed.Targets[schema.PackageTarget(host)]
	var target schema.Target
	must(b.t, json.Unmarshal(*file.Custom, &target))
	return file, target
}

// manifest is that of a host's package in the newest state.
func (b *besieged) manifest(host string) (*schema.Manifest, schema.Digest) {
	b.t.Helper()
	_, target := b.given(host)
	packed, err := os.ReadFile(b.file(schema.ManifestKey(target.Manifest)))
	must(b.t, err)
	m, err := schema.DecodeManifest(packed, target.Manifest)
	must(b.t, err)
	return m, target.Manifest
}

// plant puts a package into the store and gives it to web01, signed by all keys: what a publisher who was deceived, or a
// thief of everything but the root key, would do.
func (b *besieged) plant(m *schema.Manifest) {
	b.t.Helper()
	content, err := m.Marshal() // not Encode: it may be malformed on purpose
	must(b.t, err)
	digest := schema.DigestOf(content)
	b.put(schema.ManifestKey(digest), gzipped(b.t, content))
	for _, name := range []string{"release", "second"} {
		key := b.signers[name]
		b.put(schema.StatementKey(digest, key.ID()), trusttest.Statement(schema.StatementFor(m, digest), key))
	}
	b.usurp(func(bin, _ *metadata.TargetsType, _ *metadata.SnapshotType, _ *metadata.TimestampType) {
		file := custom(b.t, bin, func(target *schema.Target) {
			target.Manifest, target.Recipe, target.Older = digest, m.Recipe, nil
			target.Release++
		})
		file.Length, file.Hashes = m.Size, metadata.Hashes{"sha256": m.SHA256[:]}
	})
}

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(content)
	must(t, err)
	must(t, z.Close())
	return out.Bytes()
}
