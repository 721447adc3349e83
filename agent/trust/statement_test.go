package trust

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

var testStatement = schema.Statement{Package: schema.DigestOf([]byte("package")), Manifest: schema.DigestOf([]byte("manifest")),
	Recipe: "0123456789abcdef", Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Deb,
	Anchor: schema.DigestOf([]byte("anchor"))}

func accept(name string, k trusttest.Key) schema.AcceptedKey {
	return schema.AcceptedKey{Name: name, Public: k.PEM()}
}

func TestStatements(t *testing.T) {
	a, b, thief := trusttest.NewKey(), trusttest.NewKey(), trusttest.NewKey()
	keys := []schema.AcceptedKey{accept("alice", a), accept("bob", b)}
	other := func(bend func(*schema.Statement)) schema.Statement {
		s := testStatement
		bend(&s)
		return s
	}
	good := trusttest.Statement(testStatement, a)
	for name, c := range map[string]struct {
		envelopes [][]byte
		keys      []schema.AcceptedKey
		threshold int
		accepted  []string
		says      []string // parts of the refusal, in order
	}{
		"one of two keys is enough for 1": {[][]byte{good}, keys, 1, []string{"alice"}, nil},
		"two envelopes for 2":             {[][]byte{good, trusttest.Statement(testStatement, b)}, keys, 2, []string{"alice", "bob"}, nil},
		"two signatures in one envelope":  {[][]byte{trusttest.Statement(testStatement, b, a)}, keys, 2, []string{"bob", "alice"}, nil},
		"foreign and broken ones beside a good one are passed over": {
			[][]byte{[]byte("junk"), trusttest.Statement(testStatement, thief), good}, keys, 1, []string{"alice"}, nil},
		"no key id": {[][]byte{bytes.Replace(good, []byte(a.ID()), nil, 1)}, keys, 1, []string{"alice"}, nil},

		"none": {nil, keys, 1, nil, []string{"the package carries no signature", "No valid signature found"}},
		"unknown key": {[][]byte{trusttest.Statement(testStatement, thief)}, keys, 1, nil,
			[]string{"key id \"" + thief.ID()[:16], "is not accepted by this host", "No valid signature found"}},
		"unknown key under the id of an accepted one": {
			[][]byte{bytes.Replace(trusttest.Statement(testStatement, thief), []byte(thief.ID()), []byte(a.ID()), 1)}, keys, 1, nil,
			[]string{"key alice ignored", "does not verify", "No valid signature found"}},
		"wrong package": {[][]byte{trusttest.Statement(other(func(s *schema.Statement) { s.Package = schema.DigestOf([]byte("old")) }), a)}, keys, 1, nil,
			[]string{"key alice ignored: it is for package " + schema.DigestOf([]byte("old")).Short(), "No valid signature found"}},
		"another fleet": {[][]byte{trusttest.Statement(other(func(s *schema.Statement) { s.Anchor = schema.DigestOf([]byte("x")) }), a)}, keys, 1, nil,
			[]string{"another fleet", "No valid signature found"}},
		"another manifest": {[][]byte{trusttest.Statement(other(func(s *schema.Statement) { s.Manifest = schema.DigestOf([]byte("x")) }), a)}, keys, 1, nil,
			[]string{"differently", "No valid signature found"}},
		"one of two required": {[][]byte{good, trusttest.Statement(testStatement, thief)}, keys, 2, nil,
			[]string{"is not accepted", "1 valid of 2 required signatures (by alice)"}},
		"the same key twice":                      {[][]byte{good, good}, keys, 2, nil, []string{"key alice ignored: this key has signed already", "1 valid of 2 required signatures (by alice)"}},
		"the same key twice in one envelope":      {[][]byte{trusttest.Statement(testStatement, a, a)}, keys, 2, nil, []string{"signed already", "1 valid of 2 required signatures (by alice)"}},
		"the same key accepted under two names":   {[][]byte{good, good}, []schema.AcceptedKey{accept("alice", a), accept("al", a)}, 2, nil, []string{"signed already", "1 valid of 2 required signatures (by alice)"}},
		"another type of payload":                 {[][]byte{trusttest.Envelope("text/plain", []byte("x"), a)}, keys, 1, nil, []string{`it is a "text/plain"`, "No valid signature found"}},
		"a payload that is no statement":          {[][]byte{trusttest.Envelope(schema.StatementType, []byte("x"), a)}, keys, 1, nil, []string{"key alice ignored", "No valid signature found"}},
		"a statement with a name twice":           {[][]byte{trusttest.Envelope(schema.StatementType, []byte(`{"package":"","package":""}`), a)}, keys, 1, nil, []string{"stands twice", "No valid signature found"}},
		"a payload type moved to another payload": {[][]byte{bytes.Replace(trusttest.Envelope("application/x", mustJSON(t, testStatement), a), []byte("application/x"), []byte(schema.StatementType), 1)}, keys, 1, nil, []string{"does not verify", "No valid signature found"}},
		"an accepted key that cannot be read":     {[][]byte{good}, []schema.AcceptedKey{{Name: "carol", Public: "nonsense"}}, 1, nil, []string{"accepted key carol cannot be read", "No valid signature found"}},
		"endless signatures":                      {[][]byte{manySignatures(t, thief)}, keys, 1, nil, []string{"more than 64 signatures", "No valid signature found"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := VerifyStatements(c.envelopes, testStatement, c.keys, c.threshold)
			if c.says == nil {
				if err != nil || !slices.Equal(got, c.accepted) {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if !fault.IsRefusal(err) || fault.HintOf(err) == "" || got != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			rest := err.Error()
			for _, s := range c.says {
				_, after, ok := strings.Cut(rest, s)
				if !ok {
					t.Errorf("%q does not say %q, in order", err, s)
				}
				rest = after
			}
			if rest != "" {
				t.Errorf("the refusal does not end with its verdict: %q", err)
			}
		})
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func manySignatures(t *testing.T, k trusttest.Key) []byte {
	keys := make([]trusttest.Key, maxSignatures+1)
	for i := range keys {
		keys[i] = k
	}
	return trusttest.Statement(testStatement, keys...)
}

func TestThresholdBelowOneIsNeverMet(t *testing.T) {
	if _, err := VerifyStatements(nil, testStatement, nil, 0); err == nil {
		t.Error("nothing was needed, and nothing was enough")
	}
}

// Other DSSE tools read our envelopes, and we theirs.
func TestEnvelopesAreThoseOfSigstore(t *testing.T) {
	k := trusttest.NewKey()
	pub, err := k.Pub.ToPublicKey()
	if err != nil {
		t.Fatal(err)
	}
	v, err := LoadVerifier(pub)
	if err != nil {
		t.Fatal(err)
	}
	theirs := sigdsse.WrapVerifier(v)
	if err := theirs.VerifySignature(bytes.NewReader(bytes.Replace(trusttest.Statement(testStatement, k), []byte(k.ID()), nil, 1)), nil); err != nil {
		t.Errorf("sigstore refuses ours: %v", err)
	}
	var s signature.Signer = sigdsse.WrapSigner(k.Signer, schema.StatementType)
	env, err := s.SignMessage(bytes.NewReader(mustJSON(t, testStatement)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := VerifyStatements([][]byte{env}, testStatement, []schema.AcceptedKey{accept("k", k)}, 1); err != nil || len(got) != 1 {
		t.Errorf("we refuse sigstore's: %v", err)
	}
}

func FuzzVerifyStatements(f *testing.F) {
	k := trusttest.NewKey()
	f.Add(trusttest.Statement(testStatement, k))
	f.Add([]byte(`{"payloadType":"application/vnd.bakehouse.package.v1+json","payload":"e30=","signatures":[{"sig":"AA=="}]}`))
	f.Add([]byte(`{"signatures":null}`))
	other := trusttest.NewKey()
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := VerifyStatements([][]byte{b}, testStatement, []schema.AcceptedKey{accept("other", other)}, 1); err == nil {
			t.Errorf("accepted by %q", got)
		} else if !fault.IsRefusal(err) {
			t.Errorf("not a refusal: %v", err)
		}
	})
}
