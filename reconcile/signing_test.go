package reconcile

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/keys"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store/stores"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// slow is a signer that answers nobody before so many wait, as an HSM does that works in batches.
type slow struct {
	signature.Signer
	batch int

	mu            sync.Mutex
	waiting, most int
	signed        int
	enough        chan struct{}
}

func (s *slow) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	s.mu.Lock()
	s.waiting++
	s.most = max(s.most, s.waiting)
	if s.signed++; s.signed == s.batch {
		close(s.enough)
	}
	s.mu.Unlock()
	<-s.enough
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	return s.Signer.SignMessage(message, opts...)
}

// With fewer in flight nobody would ever be answered, which synctest reports as a deadlock.
func TestSixteenSignaturesOfASlowKeyAreMadeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pub, priv, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := signature.LoadED25519Signer(priv)
		if err != nil {
			t.Fatal(err)
		}
		public, err := cryptoutils.MarshalPublicKeyToPEM(pub)
		if err != nil {
			t.Fatal(err)
		}
		key := &slow{Signer: s, batch: 16, enough: make(chan struct{})}
		ring := keys.Open(&fleet.Fleet{Keys: map[string]*fleet.Key{"hsm": {Name: "hsm", Public: string(public),
			Uses: []string{fleet.UsePackage}}}}, t.TempDir(), nil)
		ring.Use("hsm", keys.Signers{Statement: key})
		st, err := stores.Open(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		var all []baked
		for i := range 40 {
			text := fmt.Append(nil, "package ", i)
			m := &schema.Manifest{Schema: schema.ManifestSchema, Bake: 1, Name: "bakehouse-agent", Version: "1",
				Recipe:   "0123456789abcdef",
				Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Deb, Anchor: schema.DigestOf([]byte("root")),
				Size: int64(len(text)), SHA256: schema.DigestOf(text), Parts: []schema.Part{{Data: text}}}
			packed, digest, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, baked{hosts: []string{fmt.Sprint("host", i)},
				Baked: &bake.Baked{Manifest: m, Digest: digest, Packed: packed}})
		}
		p := &pass{head: &desired.State{}, store: st, log: &bytes.Buffer{}}
		if err := p.keepAll(t.Context(), ring, []string{"hsm"}, all); err != nil {
			t.Fatal(err)
		}
		if key.most != keys.InFlight || key.signed != len(all) {
			t.Errorf("%d signatures, at most %d at a time; want %d and %d", key.signed, key.most, len(all), keys.InFlight)
		}
	})
}
