package examples_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"compress/gzip"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

// Attacks by whoever holds some of the fleet's keys, or keys of another fleet.

// signedOnly puts a state into the store that only change makes other than release 2, all of it signed.
func (b *besieged) signedOnly(serves bool, change func(bin, targets *metadata.TargetsType, snapshot *metadata.SnapshotType, stamp *metadata.TimestampType)) {
	b.t.Helper()
	b.offers(2)
	b.usurp(change)
	b.noticed(serves)
}

// replaceOnline publishes a root that has another key in the place of the online one, by the ceremony that operators hold.
func (b *besieged) replaceOnline() {
	b.t.Helper()
	b.keys = append(b.keys[:len(b.keys):len(b.keys)], namedKey{"online2", "snapshot,timestamp"})
	must(b.t, os.Remove(filepath.Join(b.repo, "keys/online.cue")))
	b.run("key", "create", "online2", "--use", "snapshot,timestamp")
	b.run("root", "next")
	b.run("root", "sign")
	b.commit("Another online key")
	b.reconciles()
}

func removedKey(b *besieged) {
	b.offers(3)
	b.updates("three")
	b.replaceOnline()
	b.ends(unmoved()) // it has root 2 now
	stamp := read(b, metadata.Timestamp(), schema.TimestampKey(b.head()))
	stamp.Signed.Version++
	b.put(schema.TimestampKey(stamp.Signed.Version), sign(b, stamp, "online"))
	b.noticed(false)
	b.meets(unmoved(), refused("timestamp.json", "not enough signatures"))
	b.remove(schema.TimestampKey(stamp.Signed.Version))
	b.restart()
	b.replace("hosts/rules.cue", `"three"`, `"four"`)
	b.commit("Another word")
	b.reconciles()
	b.updates("four")
}

// A thief of the timestamp key can say nothing new, but that no honest version will ever be high enough again.
func stolenTimestampKey(b *besieged) {
	const huge = 999_999_999_999 // the highest that a store's names hold
	stamp := read(b, metadata.Timestamp(), schema.TimestampKey(1))
	stamp.Signed.Version = huge
	b.put(schema.TimestampKey(huge), sign(b, stamp, "online"))
	b.untilServed(huge)
	b.ends(unmoved())

	b.remove(schema.TimestampKey(huge))
	b.publish(2)
	b.restart()
	b.ends(outcome{schema.StateHeld, "site-behind", false, []string{fmt.Sprintf("it offers timestamp 2, and %d was verified before", int64(huge))}})

	b.replaceOnline()
	b.updates("three")
}

func oneKeyTwice(b *besieged) {
	b.infiltrates(2, true, func() {})
	keys := b.statements()
	content, err := os.ReadFile(b.file(keys[0]))
	must(b.t, err)
	var envelope struct {
		PayloadType string            `json:"payloadType"`
		Payload     string            `json:"payload"`
		Signatures  []json.RawMessage `json:"signatures"`
	}
	must(b.t, json.Unmarshal(content, &envelope))
	envelope.Signatures = append(envelope.Signatures, envelope.Signatures[0])
	twice, err := json.Marshal(envelope)
	must(b.t, err)
	b.put(keys[0], twice)   // in one envelope
	b.put(keys[1], content) // and in another, under the other key's name
	want := refused(" accepted", "this key has signed already", "1 valid of 2 required signatures (by ")
	b.meets(want, want)
	b.heals(2)
}

func wrongLength(b *besieged) {
	b.signedOnly(true, func(bin, _ *metadata.TargetsType, _ *metadata.SnapshotType, _ *metadata.TimestampType) {
		bin.Targets[schema.PackageTarget("web01")].Length++
	})
	want := refused("describes package", "but this host is assigned")
	b.meets(want, want)
	b.outdoes(3)
}

func twoHashes(b *besieged) {
	b.signedOnly(false, func(bin, _ *metadata.TargetsType, _ *metadata.SnapshotType, _ *metadata.TimestampType) {
		bin.Targets[schema.PackageTarget("web01")].Hashes["sha512"] = bytes.Repeat([]byte{1}, 64)
	})
	b.untouched(refused("not exactly a length and a sha256"))
}

// untouched is what a state that no server takes comes to: the host first gets release 2 from the real one, and nothing
// from one that checks nothing.
func (b *besieged) untouched(careless outcome) {
	b.t.Helper()
	b.updates("two")
	b.careless()
	b.ends(careless)
	b.outdoes(3)
}

func hugeCounts(b *besieged) {
	b.signedOnly(false, func(bin, _ *metadata.TargetsType, _ *metadata.SnapshotType, _ *metadata.TimestampType) {
		custom(b.t, bin, func(target *schema.Target) {
			for range 10000 {
				target.Older = append(target.Older, schema.Candidate{Release: 1})
			}
		})
	})
	b.untouched(refused("10001 older candidates, at most 2"))
}

func traversalTarget(b *besieged) {
	b.signedOnly(false, func(bin, targets *metadata.TargetsType, _ *metadata.SnapshotType, _ *metadata.TimestampType) {
		file := *bin.Targets[schema.PackageTarget("web01")]
		for i := range 64 { // one of them is for this bin by its hash
			name := schema.PackageTarget(strings.Repeat("../", i+1) + "etc/passwd")
			bin.Targets[name] = &file
		}
	})
	// A host looks up its own name only, so the bin is as good to it as any; what it gets is its own package still.
	b.updates("two")
	b.careless()
	b.ends(unmoved())
	if _, err := os.Stat(filepath.Join(b.root, "../etc/passwd")); err == nil {
		b.t.Error("something lies outside of the host")
	}
	b.outdoes(3)
}

// planted gives web01 a package that all keys signed, bent by change.
func (b *besieged) planted(change func(m *schema.Manifest)) {
	b.t.Helper()
	b.offers(2)
	m, _ := b.manifest("web01")
	change(m)
	b.plant(m)
	b.noticed(true)
}

func traversalSegment(b *besieged) {
	b.offers(2)
	_, digest := b.manifest("web01")
	content := fmt.Sprintf(`{"schema":1,"bake":1,"name":"bakehouse-agent","version":"1","parts":[{"segment":{"digest":"sha256:%s","size":1,"payloadSize":1}}]}`+"\n",
		"../../../../../../../../../../../../../etc/passwd")
	b.usurp(func(bin, _ *metadata.TargetsType, _ *metadata.SnapshotType, _ *metadata.TimestampType) {
		custom(b.t, bin, func(target *schema.Target) {
			target.Manifest = schema.DigestOf([]byte(content))
			target.Release++
		})
		bin.Targets[schema.PackageTarget("web01")].Hashes = metadata.Hashes{"sha256": digest[:]}
	})
	b.put(schema.ManifestKey(schema.DigestOf([]byte(content))), gzipped(b.t, []byte(content)))
	b.noticed(true)
	b.meets(outcome{schema.StateFailed, "unreachable", false, []string{"the server cannot answer this now"}}, refused("manifest", "digest"))
	b.outdoes(3)
}

func traversalPackage(b *besieged) {
	b.planted(func(m *schema.Manifest) { m.Name = "../../../etc/cron.d/x" })
	b.meets(outcome{schema.StateFailed, "unreachable", false, []string{"the server cannot answer this now"}}, refused("manifest", "name"))
	b.outdoes(3)
}

func traversalArchive(b *besieged) {
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	for _, name := range []string{"./usr/bin/app", "./../../../../../../etc/owned"} {
		must(b.t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: 4}))
		_, err := w.Write([]byte("evil"))
		must(b.t, err)
	}
	must(b.t, w.Close())
	must(b.t, z.Close())
	b.planted(func(m *schema.Manifest) {
		m.Size, m.SHA256 = int64(archive.Len()), schema.DigestOf(archive.Bytes())
		m.Parts = []schema.Part{{Data: archive.Bytes()}}
	})
	want := outcome{schema.StateRefused, "unverified", true, []string{"points outside of the tree"}}
	b.meets(want, want)
	b.outdoes(3)
}

func foreignAnchor(b *besieged) {
	b.planted(func(m *schema.Manifest) { m.Anchor = schema.DigestOf([]byte("the root of another fleet")) })
	want := refused("is built for the anchor root", "not a verified root of this fleet")
	b.meets(want, want)
	b.outdoes(3)
}

// stranger signs a role as another fleet's key of that role would.
func stranger[T metadata.Roles](md *metadata.Metadata[T]) []byte {
	return trusttest.Sign(md, trusttest.NewKey())
}

func twoFleets(b *besieged) {
	b.infiltrates(2, false, func() {
		key, _ := b.role("bin")
		b.put(key, stranger(read(b, metadata.Targets(), key)))
	})
	b.ends(unmoved())
	b.publish(2)
	b.careless()
	for _, mix := range []struct {
		role string
		do   func()
	}{
		{"root", func() {
			root := read(b, metadata.Root(), schema.MetadataKey(metadata.ROOT, 1))
			root.Signed.Version, root.Signed.Expires = 2, time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Second)
			b.put(schema.MetadataKey(metadata.ROOT, 2), stranger(root))
		}},
		{"timestamp.json", func() {
			b.remove(schema.MetadataKey(metadata.ROOT, 2))
			b.put(schema.TimestampKey(2), stranger(read(b, metadata.Timestamp(), schema.TimestampKey(2))))
		}},
		{"snapshot", func() {
			key, _ := b.role("snapshot")
			b.put(key, stranger(read(b, metadata.Snapshot(), key)))
		}},
		{"targets", func() {
			key, _ := b.role("targets")
			b.put(key, stranger(read(b, metadata.Targets(), key)))
		}},
		{"bin", func() {
			key, _ := b.role("bin")
			b.put(key, stranger(read(b, metadata.Targets(), key)))
		}},
	} {
		mix.do()
		b.ends(refused(mix.role))
		b.publish(2)
	}
	b.heals(2)
}
