// Package kinds is what an object of a store has to be, by the kind that its key names: its form, its bounds, and the
// digest that its key promises. Whoever takes objects from somebody else (a server from a publisher, a store from a
// bundle) lets nothing in that is not of a kind that is known; fsck reads what is there by the same rules. Signatures
// are not looked at here: package trust has the roots for that.
package kinds

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/tree"
)

// kind is what objects below a directory of the store are.
type kind struct {
	dir string
	max int64 // bytes
	// keyOf is of the kinds whose bytes have the digest that the key names; the others are read whole and checked.
	keyOf func(schema.Digest) string
	check func(key string, b []byte) error
}

// maxSmall bounds claims and leases, which are a line of JSON.
const maxSmall = 4 << 10

var kinds = []kind{
	{dir: schema.SegmentDir, max: schema.MaxPackage, keyOf: schema.SegmentKey},
	{dir: schema.SourceFileDir, max: schema.MaxPackage, keyOf: schema.SourceFileKey},
	{dir: schema.TargetDir, max: schema.MaxTarget, keyOf: schema.TargetKey},
	{dir: schema.TreeDir, max: schema.MaxTree, check: checkTree},
	{dir: schema.ManifestDir, max: schema.MaxManifest, check: checkManifest},
	{dir: schema.PayloadDir, max: maxSmall, check: checkClaim},
	{dir: schema.ContentsDir, max: schema.MaxContents, check: checkContents},
	{dir: schema.StatementDir, max: schema.MaxStatement, check: checkStatement},
	{dir: schema.MetadataDir, max: schema.MaxTargets, check: checkMetadata},
	{dir: schema.TimestampDir, max: schema.MaxTimestamp, check: checkTimestamp},
	{dir: schema.LockDir, max: maxSmall, check: checkLock},
}

func of(key string) (kind, error) {
	if err := schema.CheckKey(key); err != nil {
		return kind{}, err
	}
	for _, k := range kinds {
		if strings.HasPrefix(key, k.dir) {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("%s: this version knows no such kind of object", key)
}

// Max is how many bytes an object of that key may have. It is an error if its kind is not known.
func Max(key string) (int64, error) {
	k, err := of(key)
	return k.max, err
}

// Checked reads what r yields as the object of that key: it fails, at its end at the latest, if r is not what the key
// names. Of the kinds that are small it reads all of r at once.
func Checked(key string, r io.Reader) (io.Reader, error) {
	k, err := of(key)
	if err != nil {
		return nil, err
	}
	r = &bounded{r: r, left: k.max, key: key}
	if k.keyOf != nil {
		want, err := DigestIn(key, k.keyOf)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		return Digested(r, want, key), nil
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if err := k.check(key, b); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return bytes.NewReader(b), nil
}

// bounded fails beyond so many bytes.
type bounded struct {
	r    io.Reader
	left int64
	key  string
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%s: larger than an object of its kind may be", b.key)
	}
	return n, err
}

// Addressed is the digest in a key that is that of the object's bytes; false if it is of another kind.
func Addressed(key string) (schema.Digest, bool) {
	k, err := of(key)
	if err != nil || k.keyOf == nil {
		return schema.Digest{}, false
	}
	d, err := DigestIn(key, k.keyOf)
	return d, err == nil
}

// Digested reads r and fails at its end, with a schema.AlteredError, if what it read has another digest.
func Digested(r io.Reader, want schema.Digest, key string) io.Reader {
	return &digested{r: r, h: sha256.New(), want: want, key: key}
}

type digested struct {
	r    io.Reader
	h    hash.Hash
	want schema.Digest
	key  string
}

func (d *digested) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	d.h.Write(b[:n])
	if err != io.EOF {
		return n, err
	}
	if got := schema.Digest(d.h.Sum(nil)); got != d.want {
		err = fmt.Errorf("%s: %w", d.key, &schema.AlteredError{Object: "object", Want: d.want, Got: got})
	}
	return n, err
}

// DigestIn reads the digest at the end of a key and holds the whole key to its form.
func DigestIn(key string, keyOf func(schema.Digest) string) (schema.Digest, error) {
	d, err := schema.ParseHex(key[strings.LastIndexByte(key, '/')+1:])
	if err != nil {
		return d, err
	}
	if keyOf(d) != key {
		return d, fmt.Errorf("belongs at %s", keyOf(d))
	}
	return d, nil
}

// Metadata reads the key of a versioned role file.
func Metadata(key string) (role string, version int64, err error) {
	v, rest, _ := strings.Cut(strings.TrimPrefix(key, schema.MetadataDir), ".")
	role, ok := strings.CutSuffix(rest, ".json")
	version, err = strconv.ParseInt(v, 10, 64)
	if err != nil || !ok || schema.MetadataKey(role, version) != key {
		return "", 0, errors.New("is not named as metadata")
	}
	return role, version, nil
}

// RoleType is the TUF type of a role: bins are targets roles.
func RoleType(name string) string {
	if name == "root" || name == "snapshot" {
		return name
	}
	return "targets"
}

// Statement reads the envelope of a statement on the package of the manifest that its key names.
func Statement(key string, b []byte) (st schema.Statement, err error) {
	dir, _, _ := strings.Cut(strings.TrimPrefix(key, schema.StatementDir), "/")
	manifest, err := schema.ParseHex(dir)
	if err != nil {
		return st, err
	}
	var envelope struct {
		PayloadType string            `json:"payloadType"`
		Payload     []byte            `json:"payload"`
		Signatures  []json.RawMessage `json:"signatures"`
	}
	if err := schema.Decode(b, &envelope); err != nil {
		return st, fmt.Errorf("envelope: %w", err)
	}
	if envelope.PayloadType != schema.StatementType || len(envelope.Signatures) == 0 {
		return st, fmt.Errorf("envelope of type %.80q with %d signatures is no statement", envelope.PayloadType,
			len(envelope.Signatures))
	}
	st, err = schema.DecodeStatement(envelope.Payload)
	if err != nil {
		return st, err
	}
	if st.Manifest != manifest {
		return st, fmt.Errorf("is a statement on manifest %s", st.Manifest)
	}
	return st, nil
}

func checkStatement(key string, b []byte) error {
	_, err := Statement(key, b)
	return err
}

func checkTree(key string, b []byte) error {
	root, err := DigestIn(key, schema.TreeKey)
	if err == nil {
		_, err = tree.Decode(b, root)
	}
	return err
}

func checkManifest(key string, b []byte) error {
	d, err := DigestIn(key, schema.ManifestKey)
	if err == nil {
		_, err = schema.DecodeManifest(b, d)
	}
	return err
}

// checkClaim does not look whether the claim is true: whoever reuses the segment inflates it.
func checkClaim(key string, b []byte) error {
	hex, codec, _ := strings.Cut(key[strings.LastIndexByte(key, '/')+1:], ".")
	want, err := schema.ParseHex(hex)
	if err != nil {
		return err
	}
	var ref schema.SegmentRef
	if err := schema.Decode(b, &ref); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	if schema.PayloadKey(ref.Payload, codec) != key {
		return fmt.Errorf("claims payload %s, not %s", ref.Payload, want)
	}
	return nil
}

func checkContents(key string, b []byte) error {
	_, err := DigestIn(key, schema.ContentsKey)
	if err == nil {
		_, err = schema.DecodeContents(b)
	}
	return err
}

// roleBounds are those of roles that have less room than targets.
var roleBounds = map[string]int{"root": schema.MaxRoot, "snapshot": schema.MaxSnapshot}

func checkMetadata(key string, b []byte) error {
	name, version, err := Metadata(key)
	if err != nil {
		return err
	}
	if name != "root" && name != "snapshot" && name != "targets" && !strings.HasPrefix(name, schema.BinPrefix+"-") {
		return fmt.Errorf("unknown role %.40q", name)
	}
	if most, ok := roleBounds[name]; ok && len(b) > most {
		return fmt.Errorf("larger than %d bytes", most)
	}
	return checkRole(b, RoleType(name), version)
}

func checkTimestamp(key string, b []byte) error {
	version, ok := schema.ParseTimestampKey(key)
	if !ok {
		return errors.New("is not named as a timestamp")
	}
	return checkRole(b, "timestamp", version)
}

// checkRole holds that a role file is what its name says. Its signatures are for package trust.
func checkRole(b []byte, want string, version int64) error {
	var r struct {
		Signed struct {
			Type    string `json:"_type"`
			Version int64  `json:"version"`
		} `json:"signed"`
		Signatures []json.RawMessage `json:"signatures"`
	}
	if err := schema.Decode(b, &r); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if r.Signed.Type != want || r.Signed.Version != version || len(r.Signatures) == 0 {
		return fmt.Errorf("metadata of type %.40q and version %d with %d signatures is not what its name says",
			r.Signed.Type, r.Signed.Version, len(r.Signatures))
	}
	return nil
}

func checkLock(key string, b []byte) error {
	if _, ok := schema.ParseLockKey(key); !ok {
		return errors.New("is not named as a lease")
	}
	if !json.Valid(b) {
		return errors.New("is not JSON")
	}
	return nil
}
