// Package bundle carries a published state to a store that no network reaches: one file with the objects that the store
// does not have yet, for a site or a whole server behind an air gap.
//
// A bundle is signed by the keys that sign the fleet's timestamp, for what TUF's metadata do not vouch for would else
// be the carrier's to alter (statements' signatures, lists of contents). Who applies one begins with a root that is
// held already and believes nothing else: the roots in the bundle have to follow from it, the index to be signed as the
// newest of them says, each object to be the one of the index and what its key promises, and the state to verify,
// whole, by package trust. Only then is anything written, the timestamp last; so a store is never between two states,
// and no bundle takes it back.
//
//	bakehouse bundle 1\n          the format
//	0000001234\n                  length of the envelope
//	envelope                      DSSE, in one form only: its payload is the Index
//	objects                       as many bytes of each as the index says, in its order, and nothing behind them
//
// The same difference is the same bytes, if the keys sign the same the same way (Ed25519 and RSA do).
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"bakehouse/agent/trust/quorum"
	"bakehouse/agent/trust/statement"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store/kinds"
)

const (
	magic       = "bakehouse bundle 1\n"
	payloadType = "application/vnd.bakehouse.bundle+json"
	schemaOf    = 1
	lengthForm  = "%010d\n"
	maxEnvelope = 128 << 20 // bytes; there is room for half a million objects
)

// Index says what is in a bundle.
type Index struct {
	Schema  int      `json:"schema"`
	From    int64    `json:"from"` // version of the timestamp that it is the difference to, 0 if that is not known
	To      int64    `json:"to"`   // and of the one that it brings
	Objects []Object `json:"objects"`
}

// Object is an object of the bundle.
type Object struct {
	Key    string        `json:"key"`
	Size   int64         `json:"size"`
	SHA256 schema.Digest `json:"sha256"`
}

// ranks are the kinds of objects that a bundle may have, in the order in which they are created: what names others
// comes after them, roots just before the timestamp.
var ranks = []func(key string) bool{
	below(schema.SegmentDir), below(schema.ContentsDir), below(schema.ManifestDir), below(schema.StatementDir),
	below(schema.TargetDir), below(schema.TreeDir),
	func(key string) bool {
		return below(schema.MetadataDir)(key) && !isRole(key, "root") && !isRole(key, "snapshot")
	},
	func(key string) bool { return isRole(key, "snapshot") },
	func(key string) bool { return isRole(key, "root") },
	below(schema.TimestampDir),
}

func below(dir string) func(string) bool {
	return func(key string) bool { return strings.HasPrefix(key, dir) }
}

func isRole(key, role string) bool {
	name, _, err := kinds.Metadata(key)
	return err == nil && below(schema.MetadataDir)(key) && name == role
}

// rank is where an object of that key comes; false if a bundle has none of its kind.
func rank(key string) (int, bool) {
	for i, of := range ranks {
		if of(key) {
			return i, true
		}
	}
	return 0, false
}

// compare orders keys as they are in a bundle: by rank, then by bytes. Roots of one length so are in order of version.
func compare(a, b string) int {
	i, _ := rank(a)
	j, _ := rank(b)
	switch {
	case i != j:
		return i - j
	case isRole(a, "root") && len(a) != len(b):
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// head is all of a bundle that comes before its objects.
func head(index []byte, sigs []quorum.Signature) ([]byte, error) {
	env := statement.Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(index)}
	for _, s := range sigs {
		env.Signatures = append(env.Signatures,
			statement.Signature{KeyID: s.KeyID, Sig: base64.StdEncoding.EncodeToString(s.Sig)})
	}
	b, err := json.Marshal(env)
	if err != nil {
		return nil, err
	}
	if len(b) > maxEnvelope {
		return nil, fmt.Errorf("bundle: the index is longer than %d bytes: make one from a later state", maxEnvelope)
	}
	return append(fmt.Appendf([]byte(magic), lengthForm, len(b)), b...), nil
}

// Bundle is one that was opened, and not verified.
type Bundle struct {
	Index Index

	message []byte // that is signed
	sigs    []quorum.Signature
	in      io.ReaderAt
	at      map[string]place
}

// place is where an object is in the file.
type place struct {
	Object
	offset int64
}

// damaged is what is wrong with the file itself.
func damaged(format string, args ...any) error {
	return fault.Refuse(fmt.Errorf("not a sound bundle: "+format, args...),
		"nothing was written; carry it again, or make it again with bakehouse store bundle")
}

// Open reads the index of a bundle of that size, in bytes.
func Open(in io.ReaderAt, size int64) (*Bundle, error) {
	fixed := make([]byte, len(magic)+len(fmt.Sprintf(lengthForm, 0)))
	if size < int64(len(fixed)) {
		return nil, damaged("it is too short")
	}
	if _, err := in.ReadAt(fixed, 0); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	digits, ok := strings.CutPrefix(string(fixed), magic)
	if !ok {
		return nil, damaged("it does not begin as one of this version")
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(digits, "\n"), 10, 64)
	if err != nil || n < 1 || n > maxEnvelope || n > size-int64(len(fixed)) || fmt.Sprintf(lengthForm, n) != digits {
		return nil, damaged("the length of its index is wrong")
	}
	env := make([]byte, n)
	if _, err := in.ReadAt(env, int64(len(fixed))); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	b := &Bundle{in: in, at: map[string]place{}}
	if err := b.decode(env); err != nil {
		return nil, err
	}
	if err := b.lay(int64(len(fixed))+n, size); err != nil {
		return nil, err
	}
	return b, nil
}

// decode reads the envelope.
func (b *Bundle) decode(text []byte) error {
	var env statement.Envelope
	if err := schema.Decode(text, &env); err != nil {
		return damaged("its index: %w", err)
	}
	index, err := base64.StdEncoding.Strict().DecodeString(env.Payload)
	if err != nil || env.PayloadType != payloadType {
		return damaged("its index is of type %.60q", env.PayloadType)
	}
	for _, s := range env.Signatures {
		sig, err := base64.StdEncoding.Strict().DecodeString(s.Sig)
		if err != nil {
			return damaged("a signature is not base64")
		}
		b.sigs = append(b.sigs, quorum.Signature{KeyID: s.KeyID, Sig: sig})
	}
	// What is not signed has one form, so that nothing can be altered unseen.
	if again, err := json.Marshal(env); err != nil || !bytes.Equal(again, text) {
		return damaged("its envelope is not in the form in which it is made")
	}
	if err := schema.Decode(index, &b.Index); err != nil {
		return damaged("its index: %w", err)
	}
	if b.Index.Schema != schemaOf {
		return damaged("its index has schema %d", b.Index.Schema)
	}
	b.message = statement.PAE(payloadType, index)
	return nil
}

// lay finds the objects from offset on, which have to fill the file.
func (b *Bundle) lay(offset, size int64) error {
	last, stamps := "", 0
	for _, o := range b.Index.Objects {
		most, err := kinds.Max(o.Key)
		_, known := rank(o.Key)
		switch {
		case err != nil || !known:
			return damaged("it has %.80q, which no bundle has", o.Key)
		case last != "" && compare(last, o.Key) >= 0:
			return damaged("%s is out of order", o.Key)
		case o.Size < 0 || o.Size > most || o.Size > size-offset:
			return damaged("the size of %s is wrong", o.Key)
		}
		if below(schema.TimestampDir)(o.Key) {
			stamps++
		}
		b.at[o.Key] = place{o, offset}
		offset, last = offset+o.Size, o.Key
	}
	switch {
	case offset != size:
		return damaged("%d bytes are behind its last object", size-offset)
	case stamps != 1 || last != schema.TimestampKey(b.Index.To):
		return damaged("it does not bring timestamp %d", b.Index.To)
	}
	return nil
}

// open reads an object as it is in the file.
func (b *Bundle) open(key string) (io.Reader, bool) {
	p, ok := b.at[key]
	return io.NewSectionReader(b.in, p.offset, p.Size), ok
}

// checked reads an object that is to be the one of the index, and what its key promises.
func (b *Bundle) checked(o Object) (io.Reader, error) {
	r, _ := b.open(o.Key)
	return kinds.Checked(o.Key, kinds.Digested(r, o.SHA256, o.Key))
}

// sound reads all objects. Errors of reading the file go through as they are.
func (b *Bundle) sound() error {
	for _, o := range b.Index.Objects {
		r, err := b.checked(o)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		var pathErr interface{ Timeout() bool }
		if errors.As(err, &pathErr) {
			return fmt.Errorf("bundle: %w", err)
		}
		if err != nil {
			return damaged("%w", err)
		}
	}
	return nil
}

// digest is that of bytes.
func digest(r io.Reader) (schema.Digest, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return schema.Digest(h.Sum(nil)), n, err
}
