package examples_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Attacks by whoever can write to the store, or is the host's server, and holds no key.

func tamperedSegment(b *besieged) {
	b.infiltrates(2, true, func() {})
	m, _ := b.manifest("web01")
	for _, ref := range m.Segments() {
		b.alter(schema.SegmentKey(ref.Digest), flip)
	}
	want := refused("segment", "is altered")
	b.meets(want, want)
	b.heals(2)
}

func tamperedManifest(b *besieged) {
	b.infiltrates(2, true, func() {})
	_, digest := b.manifest("web01")
	b.alter(schema.ManifestKey(digest), flip)
	b.meets(outcome{schema.StateFailed, "unreachable", false, []string{"the server cannot answer this now"}},
		refused("manifest"))
	b.heals(2)
}

// statements are the files that hold the statements on web01's package.
func (b *besieged) statements() (keys []string) {
	b.t.Helper()
	_, digest := b.manifest("web01")
	files, err := filepath.Glob(b.file(schema.StatementsPrefix(digest) + "*"))
	must(b.t, err)
	if len(files) != 2 {
		b.t.Fatalf("%d statements", len(files))
	}
	for _, f := range files {
		keys = append(keys, schema.StatementsPrefix(digest)+filepath.Base(f))
	}
	return keys
}

func tamperedStatement(b *besieged) {
	b.infiltrates(2, true, func() {})
	for _, key := range b.statements() {
		// Its signature: one digit of the base64.
		b.alter(key, func(content []byte) []byte {
			at := strings.Index(string(content), `"sig":"`) + len(`"sig":"`) + 10
			if content[at] == 'A' {
				content[at] = 'B'
			} else {
				content[at] = 'A'
			}
			return content
		})
	}
	want := refused("signature by key release ignored: it does not verify: altered, or not made by this key",
		"signature by key second ignored", "No valid signature found")
	b.meets(want, want)
	b.heals(2)
}

func tamperedRoot(b *besieged) {
	b.infiltrates(2, false, func() {
		content, err := os.ReadFile(b.file(schema.MetadataKey(metadata.ROOT, 1)))
		must(b.t, err)
		b.put(schema.MetadataKey(metadata.ROOT, 2), []byte(strings.Replace(string(content), `"version":1`, `"version":2`, 1)))
	})
	b.meets(unmoved(), refused("root.json"))
	b.heals(2)
}

func tamperedTimestamp(b *besieged) {
	b.copies(2, false)
	b.put(schema.TimestampKey(2), flipped(b, b.states[1], schema.TimestampKey(2)))
	b.noticed(false)
	b.meets(unmoved(), refused("timestamp.json"))
	b.heals(2)
}

// flipped is an object of a state with a bit changed.
func flipped(b *besieged, state, key string) []byte {
	b.t.Helper()
	content, err := os.ReadFile(filepath.Join(state, filepath.FromSlash(key)))
	must(b.t, err)
	return flip(content)
}

// role is the newest file of a role; "bin" is that of web01's bin.
func (b *besieged) role(name string) (key string, version int64) {
	if name == "bin" {
		name = b.bin("web01")
	}
	return schema.MetadataKey(name, b.newest(name)), b.newest(name)
}

func tamperedRole(role string) func(*besieged) {
	return func(b *besieged) {
		b.infiltrates(2, false, func() {
			key, _ := b.role(role)
			b.alter(key, flip)
		})
		b.meets(unmoved(), refused(role))
		b.heals(2)
	}
}

func tamperedPolicy(b *besieged) {
	b.infiltrates(2, false, func() {
		targets := read(b, metadata.Targets(), schema.MetadataKey(metadata.TARGETS, 2))
		d, err := schema.ParseHex(fmt.Sprintf("%x", []byte(targets.Signed.Targets[schema.PolicyTarget].Hashes["sha256"])))
		must(b.t, err)
		b.alter(schema.TargetKey(d), flip)
	})
	b.meets(unmoved(), refused("target policy", "is altered"))
	b.heals(2)
}

// Whoever signs next must not vouch for what somebody put into the store since.
func swappedSegment(b *besieged) {
	b.offers(3)
	b.updates("three")
	m, _ := b.manifest("web01")
	refs := m.Segments()
	swap := func() {
		one, err := os.ReadFile(b.file(schema.SegmentKey(refs[0].Digest)))
		must(b.t, err)
		b.alter(schema.SegmentKey(refs[1].Digest), func(two []byte) []byte {
			b.put(schema.SegmentKey(refs[0].Digest), two)
			return one
		})
	}
	swap()
	b.replace("hosts/rules.cue", `"three"`, `"four"`)
	b.commit("Another word")
	if said := b.fails(fault.ExitRefused, "reconcile", "--store", b.store, "--programs",
		b.programs()); !strings.Contains(said, "segment") {
		b.t.Errorf("reconcile says %q", said)
	}
	if b.head() != 3 {
		b.t.Errorf("timestamp %d was signed", b.head())
	}
	statements, err := filepath.Glob(b.file(schema.StatementDir + "*/*"))
	must(b.t, err)
	was, err := filepath.Glob(filepath.Join(b.states[2], schema.StatementDir, "*/*"))
	must(b.t, err)
	if len(statements) != len(was) {
		b.t.Errorf("%d statements were signed", len(statements)-len(was))
	}
	b.ends(unmoved())
	swap()
	b.reconciles()
	b.updates("four")
}

func (b *besieged) programs() string { return filepath.Join(b.dir, "programs") }

// reconciles publishes what the repo says, and waits until the server has it.
func (b *besieged) reconciles() {
	b.t.Helper()
	b.reconcile("--programs", b.programs())
	b.untilServed(b.head())
}

func arbitraryInstall(b *besieged) {
	b.offers(2)
	_, theirs := b.manifest("db01")
	_, mine := b.manifest("web01")
	b.bends(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == schema.ManifestPath+mine.Hex() {
			r.URL.Path = schema.ManifestPath + theirs.Hex()
		}
		return false
	})
	// The real server gives a host nothing of another's, the careless one does: it is genuine, signed, and not this
	// host's.
	b.meets(outcome{schema.StateFailed, "error", false, []string{"the server does not have it, or not for this host"}},
		refused("manifest", "is altered"))
	b.heals(2)
}

func replayedTimestamp(b *besieged) {
	b.offers(2)
	b.updates("two")
	b.publish(3)
	for _, v := range []int64{2, 3} {
		b.remove(schema.TimestampKey(v))
	}
	b.restart()
	behind := outcome{schema.StateHeld, "site-behind", false,
		[]string{"the site is behind by 1 version: it offers timestamp 1, and 2 was verified before", "up to date"}}
	b.meets(behind, behind)
	b.heals(3)
}

func replayedPoll(b *besieged) {
	answer, err := json.Marshal(schema.PollAnswer{Schema: 1, Root: 1, Files: stamped(b.stamp(1)),
		Hold: "a gate that was open since"})
	must(b.t, err)
	b.offers(2)
	b.updates("two")
	b.offers(3)
	b.bends(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == schema.PollPath {
			w.Write(answer)
		}
		return r.URL.Path == schema.PollPath
	})
	b.ends(outcome{schema.StateHeld, "site-behind", false, []string{"behind by 1 version"}})
	b.heals(3)
}

// stamp is a published timestamp.
func (b *besieged) stamp(version int64) []byte {
	b.t.Helper()
	content, err := os.ReadFile(b.file(schema.TimestampKey(version)))
	must(b.t, err)
	return content
}

func replayedRole(role string) func(*besieged) {
	return func(b *besieged) {
		old, _ := b.role(role)
		content, err := os.ReadFile(b.file(old))
		must(b.t, err)
		b.infiltrates(2, false, func() {
			key, version := b.role(role)
			if key == old || version < 2 {
				b.t.Fatalf("%s is the newest before and after", key)
			}
			b.put(key, content)
		})
		b.meets(unmoved(), refused(role))
		b.heals(2)
	}
}

func replayedRoot(b *besieged) {
	b.infiltrates(2, false, func() {
		content, err := os.ReadFile(b.file(schema.MetadataKey(metadata.ROOT, 1)))
		must(b.t, err)
		b.put(schema.MetadataKey(metadata.ROOT, 2), content)
	})
	b.meets(unmoved(), refused("root.json", "version"))
	b.heals(2)
}

func mixAndMatch(b *besieged) {
	b.offers(2)
	newest := func(release int, role string) ([]byte, int64) {
		files, err := filepath.Glob(filepath.Join(b.states[release-1], schema.MetadataDir, "*."+role+".json"))
		must(b.t, err)
		var best int64
		for _, f := range files {
			var v int64
			_, err := fmt.Sscanf(filepath.Base(f), "%d.", &v)
			must(b.t, err)
			best = max(best, v)
		}
		content, err := os.ReadFile(filepath.Join(b.states[release-1], schema.MetadataKey(role, best)))
		must(b.t, err)
		return content, best
	}
	b.careless()
	for _, role := range []string{metadata.SNAPSHOT, metadata.TARGETS, b.bin("web01")} {
		// All else is of release 2, this of release 3: each is genuine.
		later, _ := newest(3, role)
		_, version := newest(2, role)
		b.put(schema.MetadataKey(role, version), later)
		b.ends(refused(role))
		b.publish(2)
	}
	b.heals(2)
}
