package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Store keys. All are immutable once created; only gc deletes. The commit point of a release is its timestamp.
//
//	metadata/N.root.json, N.snapshot.json, N.targets.json, N.bin-xx.json   TUF, consistent snapshot
//	timestamps/000000000042.json   TUF timestamp of that version; the greatest is the head
//	trees/xx/HEX                   the lines of a snapshot's tree (package tree), by its root
//	targets/xx/HEX                 content of a top-level target (policy, release, access)
//	manifests/xx/HEX               gzip of an encoded package manifest, keyed by the digest of what it inflates to
//	segments/xx/HEX                compressed segment, keyed by its own digest
//	payloads/xx/HEX.CODEC          SegmentRef in JSON: which segment holds that payload (a claim, re-checked on reuse)
//	contents/xx/HEX                Contents of a package, by its manifest's digest, or of a segment; not signed
//	statements/HEX/KEYID.json      DSSE envelope over a Statement, by package digest and signing key
//	files/xx/HEX                   a source file fetched by URL, or a host program
//	locks/000000000007.json        a lease of the store's lock; the greatest counts
//	log/…, deltas/…                reserved: whatever is there is live
const (
	MetadataDir   = "metadata/"
	TimestampDir  = "timestamps/"
	TreeDir       = "trees/"
	TargetDir     = "targets/"
	ManifestDir   = "manifests/"
	SegmentDir    = "segments/"
	PayloadDir    = "payloads/"
	ContentsDir   = "contents/"
	StatementDir  = "statements/"
	SourceFileDir = "files/"
	LockDir       = "locks/"
	LogDir        = "log/"
	DeltaDir      = "deltas/"
)

// Reserved reports whether a key is below a prefix that a later version uses: this one neither reads nor deletes it.
func Reserved(key string) bool {
	return strings.HasPrefix(key, LogDir) || strings.HasPrefix(key, DeltaDir)
}

func sharded(dir string, d Digest) string { h := d.Hex(); return dir + h[:2] + "/" + h }

// MetadataKey is the store key of a versioned TUF role file.
func MetadataKey(role string, version int64) string {
	return fmt.Sprintf("%s%d.%s.json", MetadataDir, version, role)
}

// openRoles are those whose files name no host, and whose readers verify them by themselves.
var openRoles = []string{"root", "snapshot", "targets"}

// OpenMetadata reports whether anybody may read a metadata file by its name on the wire, without credentials: those
// from the root to the targets, by which a host that does not trust its server's certificate any more finds the policy,
// and in it the new authority. Bins are not among them.
func OpenMetadata(name string) bool {
	if name == "timestamp.json" {
		return true
	}
	version, rest, _ := strings.Cut(name, ".")
	role, ok := strings.CutSuffix(rest, ".json")
	if n, err := strconv.ParseInt(version, 10, 64); err != nil || n < 1 || strconv.FormatInt(n, 10) != version {
		return false
	}
	return ok && slices.Contains(openRoles, role)
}

// MaxTimestampVersion is the highest version whose store key is in order.
const MaxTimestampVersion = 999_999_999_999

// TimestampKey is the store key of a timestamp; zero-padded so that byte order is version order.
func TimestampKey(version int64) string { return fmt.Sprintf("%s%012d.json", TimestampDir, version) }

// ParseTimestampKey is the inverse of TimestampKey.
func ParseTimestampKey(key string) (version int64, ok bool) { return parseNumbered(TimestampDir, key) }

// LockKey is the store key of a lease; zero-padded as that of a timestamp.
func LockKey(n int64) string { return fmt.Sprintf("%s%012d.json", LockDir, n) }

// ParseLockKey is the inverse of LockKey.
func ParseLockKey(key string) (n int64, ok bool) { return parseNumbered(LockDir, key) }

func parseNumbered(dir, key string) (n int64, ok bool) {
	s, ok := strings.CutPrefix(key, dir)
	if !ok {
		return 0, false
	}
	s, ok = strings.CutSuffix(s, ".json")
	if !ok || len(s) != 12 {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return v, err == nil && v > 0 && fmt.Sprintf("%s%012d.json", dir, v) == key // ParseInt takes a sign
}

// TreeKey is the store key of a snapshot's tree, by its root.
func TreeKey(root Digest) string { return sharded(TreeDir, root) }

// TargetKey is the store key of a top-level target's content.
func TargetKey(d Digest) string { return sharded(TargetDir, d) }

// ManifestKey is the store key of a manifest, by the digest of its encoded form, uncompressed.
func ManifestKey(d Digest) string { return sharded(ManifestDir, d) }

// SegmentKey is the store key of a segment, by the digest of its bytes as they stand in a package.
func SegmentKey(d Digest) string { return sharded(SegmentDir, d) }

// PayloadKey is the store key of the claim that maps an uncompressed payload to its segment under one codec.
func PayloadKey(payload Digest, codec string) string {
	return sharded(PayloadDir, payload) + "." + codec
}

// ContentsKey is the store key of the Contents of a package, by its manifest, or of a segment.
func ContentsKey(d Digest) string { return sharded(ContentsDir, d) }

// StatementKey is the store key of one key's statement on the package of a manifest. A statement names both, and
// another bake version can make the same package with another manifest.
func StatementKey(manifest Digest, keyID string) string {
	return StatementsPrefix(manifest) + keyID + ".json"
}

// StatementsPrefix is the common prefix of all statements on the package of a manifest.
func StatementsPrefix(manifest Digest) string { return StatementDir + manifest.Hex() + "/" }

// SourceFileKey is the store key of a source file.
func SourceFileKey(d Digest) string { return sharded(SourceFileDir, d) }

var keyForm = regexp.MustCompile(`^[a-z]+(/[a-z0-9][a-z0-9_-]*)*/[a-z0-9][a-z0-9._-]*$`)

// CheckKey refuses a store key that is not of the forms above, so that no back end ever sees a path it could
// misread.
func CheckKey(key string) error {
	if len(key) > 255 || !keyForm.MatchString(key) || strings.Contains(key, "..") {
		return fmt.Errorf("store key %.80q is malformed", key)
	}
	return nil
}

// Target paths, exactly as they stand in TUF metadata.
const (
	PolicyTarget  = "policy"  // Policy
	ReleaseTarget = "release" // Release
	AccessTarget  = "access"  // Access; for servers only
	AboutTarget   = "about"   // About; for servers only
	packageSuffix = "/package"
)

// PackageTarget is the TUF target path of a host's package. It carries no version: the bin is a hash of the path.
func PackageTarget(host string) string { return host + packageSuffix }

// BinPrefix is the name prefix of the hashed bins (TUF succinct_roles).
const BinPrefix = "bin"

// HTTP paths under a server's URL. A stock TUF client uses MetadataPath and TargetPath as its two base URLs.
const (
	MetadataPath = "/v1/metadata/"  // GET N.ROLE.json, timestamp.json
	TreePath     = "/v1/trees/"     // GET HEX
	TargetPath   = "/v1/targets/"   // GET HEX.policy, HOST/HEX.package (TUF consistent snapshot)
	ManifestPath = "/v1/manifests/" // GET HEX: PackageAnswer; HaveManifest
	SegmentPath  = "/v1/segments/"  // GET HEX
	RegisterPath = "/v1/register"   // POST RegisterRequest
	PollPath     = "/v1/poll"       // POST PollRequest
	PackagePath  = "/v1/packages/"  // GET HOST, by a user with the permission download

	UnregisterPath = "/v1/unregister" // POST by a host: its secret counts no longer
	TokensPath     = "/v1/tokens"     // by a user with the permission token: GET, POST, DELETE /ID
	HostsPath      = "/v1/hosts/"     // by a user with the permission revoke: POST HOST/revoke, DELETE HOST
	RolloutPath    = "/v1/rollout"    // GET with the permission view or rollout; POST with rollout
	StorePath      = "/v1/store/"     // by a user with the permission publish: package serve/store/remote
	AuditPath      = "/v1/audit"      // GET ?since=TIME, by a user with the permission audit

	LogPath     = "/v1/log/" // reserved: 404
	HealthPath  = "/healthz"
	ReadyPath   = "/readyz"
	MetricsPath = "/metrics" // by a user with the permission view
)

// HaveManifest is the request header with the digest, in hex, of a manifest that the host has: the one that it asks
// for, or that of the package before it.
const HaveManifest = "Bakehouse-Have-Manifest"

// Bounds on what is read before it is verified, in bytes.
const (
	MaxRoot      = 512 << 10
	MaxTimestamp = 16 << 10
	MaxSnapshot  = 2 << 20
	MaxTargets   = 8 << 20
	MaxTree      = 2 << 20
	MaxManifest  = 4 << 20
	MaxTarget    = 8 << 20
	MaxStatement = 1 << 20
	MaxPackage   = 4 << 30
	MaxWire      = 256 << 10 // a JSON request or answer

	// MaxPackageAnswer has room for a manifest and statements at their bounds, the manifest in base64.
	MaxPackageAnswer = MaxManifest*4/3 + MaxStatement + 1<<10
)
