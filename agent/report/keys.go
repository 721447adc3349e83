package report

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

// Key is a signature key that the host accepts.
type Key struct {
	schema.KeyState
	Algorithm string `json:"algorithm,omitempty"`
}

// Keys judges the accepted keys. The error says that too few are left to sign the next package; those that are corrupt
// can verify nothing, and nothing is signed with those that have expired.
func Keys(keys []schema.AcceptedKey, threshold int, c *schema.AgentConfig, now time.Time) (judged []Key, err error) {
	expiry := schema.DefaultKeyExpiry
	if c != nil && c.KeyExpiry != nil {
		expiry = *c.KeyExpiry
	}
	left := 0
	for _, k := range keys {
		j := Key{KeyState: schema.KeyState{Name: plain.Name(k.Name), State: schema.KeyValid, Expires: k.Expires}}
		if at := expiry.Of(k.Expires, now); at != schema.KeyFine {
			j.State = at
		}
		public, err := schema.ParsePublicKey(k.Public)
		if err != nil {
			j.State = schema.KeyCorrupt
		}
		j.Algorithm = algorithm(public)
		if j.State != schema.KeyCorrupt && j.State != schema.KeyExpired {
			left++
		}
		judged = append(judged, j)
	}
	if left < threshold {
		err = fault.Hint(fmt.Errorf("of the %d signature keys that this host accepts, %d are valid, "+
			"but a new package needs %d", len(keys), left, threshold),
			"the installed package keeps running; install the host's newest package manually, which has the current "+
				"keys")
	}
	return judged, err
}

func algorithm(public any) string {
	switch public.(type) {
	case ed25519.PublicKey:
		return "ed25519"
	case *ecdsa.PublicKey:
		return "ecdsa"
	case *rsa.PublicKey:
		return "rsa"
	}
	return ""
}
