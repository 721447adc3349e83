package trusttest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
)

// Key is a key pair. Pub may be changed before it is listed anywhere; ID is how it then has to be listed.
type Key struct {
	Pub       *metadata.Key
	Signer    signature.Signer // of metadata: RSA keys sign PSS
	Statement signature.Signer // of statements: RSA keys sign PKCS #1 v1.5
}

var made atomic.Int64

// NewKey makes an ed25519 key pair. It is not random: the processes of a fuzz run must agree on what is signed.
func NewKey() Key {
	seed := sha256.Sum256(fmt.Append(nil, "test key ", made.Add(1)))
	return KeyOf(ed25519.NewKeyFromSeed(seed[:]))
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewKeyOf makes a key pair of the type "ed25519", "ecdsa" or "rsa" (always the same one).
func NewKeyOf(kind string) Key {
	switch kind {
	case "ed25519":
		return NewKey()
	case "ecdsa":
		return KeyOf(must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	case "rsa":
		return KeyOf(must1(rsaKey()))
	}
	panic("unknown type of key " + kind)
}

// KeyOf is a key pair that was made elsewhere, of any type that TUF knows.
func KeyOf(private crypto.Signer) Key {
	s := must1(signature.LoadSigner(private, crypto.SHA256))
	pair := Key{must1(metadata.KeyFromPublicKey(private.Public())), s, s}
	if k, ok := private.(*rsa.PrivateKey); ok {
		pss := &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash}
		pair.Signer = must1(signature.LoadRSAPSSSigner(k, crypto.SHA256, pss))
	}
	return pair
}

// ID is the key's id: 64 hex digits.
func (k Key) ID() string { return must1(k.Pub.ID()) }

// PEM is the public half.
func (k Key) PEM() string {
	return string(must1(cryptoutils.MarshalPublicKeyToPEM(must1(k.Pub.ToPublicKey()))))
}

// Without returns the keys but for those at these places.
func Without(keys []Key, places ...int) (left []Key) {
	for i, k := range keys {
		if !slices.Contains(places, i) {
			left = append(left, k)
		}
	}
	return left
}

// Sign gives md exactly the signatures of keys, and returns its bytes.
func Sign[T metadata.Roles](md *metadata.Metadata[T], keys ...Key) []byte {
	md.ClearSignatures()
	for _, k := range keys {
		must1(md.Sign(k.Signer))
		// go-tuf derives the id from the public half alone, without the fields that a test may have added to it.
		md.Signatures[len(md.Signatures)-1].KeyID = k.ID()
	}
	return must1(md.ToBytes(false))
}

// Envelope is a DSSE envelope (v1.0.2) with a signature of each key.
func Envelope(payloadType string, payload []byte, keys ...Key) []byte {
	type sig struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"`
	}
	sigs := []sig{}
	for _, k := range keys {
		s := must1(k.Statement.SignMessage(bytes.NewReader(dsse.PAE(payloadType, payload))))
		sigs = append(sigs, sig{k.ID(), base64.StdEncoding.EncodeToString(s)})
	}
	return must1(json.Marshal(map[string]any{"payloadType": payloadType,
		"payload": base64.StdEncoding.EncodeToString(payload), "signatures": sigs}))
}

// Statement is the envelope of keys' statement on a package.
func Statement(s schema.Statement, keys ...Key) []byte {
	return Envelope("application/vnd.in-toto+json", Payload(s), keys...)
}

// Payload is a statement as it is signed: an in-toto Statement v1, its members in the order of their names.
func Payload(s schema.Statement) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1",`+
		`"predicate":{"anchor":%q,"format":%q,"manifest":%q,"platform":%q,"recipe":%q},`+
		`"predicateType":"urn:bakehouse:package:v1","subject":[{"digest":{"sha256":%q},"name":%q}]}`,
		s.Anchor, s.Format, s.Manifest, s.Platform, s.Recipe, s.Package.Hex(), s.Name)
}
