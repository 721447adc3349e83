package schema

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEveryKeyThatWeMakeIsWellFormedAndItsOwn(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d, other := anyDigest(r), anyDigest(r)
		version := rapid.Int64Range(1, 999_999_999_999).Draw(r, "version")
		role := rapid.SampledFrom([]string{"root", "snapshot", "targets", "bin-0", "bin-3ff"}).Draw(r, "role")
		seen := map[string]bool{}
		for _, key := range []string{MetadataKey(role, version), TimestampKey(version), TargetKey(d), ManifestKey(d), SegmentKey(d),
			PayloadKey(d, "deflate1"), PayloadKey(d, "deflate2"), StatementKey(d, other.Hex()), SourceFileKey(d)} {
			if err := CheckKey(key); err != nil {
				r.Fatal(err)
			}
			if seen[key] {
				r.Fatalf("%s stands for two things", key)
			}
			seen[key] = true
		}
		if !strings.HasPrefix(StatementKey(d, other.Hex()), StatementsPrefix(d)) {
			r.Fatal("a statement lies outside its manifest's prefix")
		}
	})
}

func TestTheByteOrderOfTimestampKeysIsTheirOrder(t *testing.T) {
	versions := rapid.Int64Range(1, 999_999_999_999)
	rapid.Check(t, func(r *rapid.T) {
		a, b := versions.Draw(r, "a"), versions.Draw(r, "b")
		if got, ok := ParseTimestampKey(TimestampKey(a)); !ok || got != a {
			r.Fatalf("%d is read back as %d, %v", a, got, ok)
		}
		if cmp.Compare(a, b) != strings.Compare(TimestampKey(a), TimestampKey(b)) {
			r.Fatalf("%s and %s", TimestampKey(a), TimestampKey(b))
		}
	})
}

func TestATimestampHasOneKeyOnly(t *testing.T) {
	for _, key := range []string{"", "timestamps/", "timestamps/1.json", "timestamps/0000000000042.json", "timestamps/00000000042.json",
		"timestamps/000000000000.json", "timestamps/+00000000042.json", "timestamps/-00000000042.json", "timestamps/0000_0000_42.json",
		"timestamps/00000000002a.json", "timestamps/000000000042", "metadata/000000000042.json", "timestamps/000000000042.json.json"} {
		if v, ok := ParseTimestampKey(key); ok {
			t.Errorf("%q is taken for version %d", key, v)
		}
	}
}

func TestMalformedKeysAreRefused(t *testing.T) {
	for _, key := range append(slices.DeleteFunc(slices.Clone(hostile), func(s string) bool { return s == "a/b" }), "segments", "segments/", "/segments/a", "segments//a", "segments/a/", "segments/./a", "segments/../a",
		"segments/.a", "segments/a.b/c", "segments/-a", "Segments/a", "segments/A", ".tmp/a", "segments/"+strings.Repeat("a", 250)) {
		if CheckKey(key) == nil {
			t.Errorf("accepted: %q", key)
		}
	}
}

func TestAnAcceptedKeyIsAPathThatStaysInside(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		key := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z/]{0,4}/[a-z0-9._/-]{0,20}`)).Draw(r, "key")
		if CheckKey(key) == nil && (path.Clean(key) != key || path.IsAbs(key) || strings.Contains(key, "..") || strings.ContainsAny(key, "\\\x00")) {
			r.Fatalf("%q", key)
		}
	})
}
