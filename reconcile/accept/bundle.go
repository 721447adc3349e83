package accept

import (
	"encoding/json"
	"slices"
	"strings"

	"bakehouse/agent/trust/statement"
)

// Bundle is the statement of one key in the form that cosign and other Sigstore clients read.
type Bundle struct {
	Key  string // its name in the repository
	JSON []byte // a Sigstore bundle v0.3
}

// Bundles are the signatures by keys of the repository, one each, sorted by key.
func (s *Signatures) Bundles() ([]Bundle, error) {
	var bundles []Bundle
	for _, raw := range s.Envelopes {
		var env statement.Envelope
		if json.Unmarshal(raw, &env) != nil {
			continue // someone else's
		}
		for _, sig := range env.Signatures {
			one := env
			one.Signatures = []statement.Signature{sig}
			b, err := json.Marshal(one)
			if err != nil {
				return nil, err
			}
			names, err := statement.Verify([][]byte{b}, s.Statement, s.keys, 1)
			if err != nil || slices.ContainsFunc(bundles, func(b Bundle) bool { return b.Key == names[0] }) {
				continue
			}
			if b, err = bundleOf(one, sig); err != nil {
				return nil, err
			}
			bundles = append(bundles, Bundle{names[0], b})
		}
	}
	slices.SortFunc(bundles, func(a, b Bundle) int { return strings.Compare(a.Key, b.Key) })
	return bundles, nil
}

// bundleOf puts an envelope with one signature into a bundle. The key id, which nothing vouches for, goes to where
// Sigstore has it: in the envelope its clients expect an id of their own making, and refuse others.
func bundleOf(env statement.Envelope, sig statement.Signature) ([]byte, error) {
	type object map[string]any
	b, err := json.MarshalIndent(object{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": object{"publicKey": object{"hint": sig.KeyID}},
		"dsseEnvelope": object{"payloadType": env.PayloadType, "payload": env.Payload,
			"signatures": []object{{"sig": sig.Sig}}},
	}, "", "  ")
	return append(b, '\n'), err
}
