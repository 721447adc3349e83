package statement

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

var testStatement = schema.Statement{Name: "bakehouse-agent", Package: schema.DigestOf([]byte("package")),
	Manifest: schema.DigestOf([]byte("manifest")), Recipe: "0123456789abcdef",
	Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Deb,
	Anchor: schema.DigestOf([]byte("anchor"))}

func accept(name string, k trusttest.Key) schema.AcceptedKey {
	return schema.AcceptedKey{Name: name, Public: k.PEM()}
}

func TestStatements(t *testing.T) {
	a, b, thief := trusttest.NewKey(), trusttest.NewKey(), trusttest.NewKey()
	keys := []schema.AcceptedKey{accept("alice", a), accept("bob", b)}
	x := schema.DigestOf([]byte("x"))
	// of is the envelopes of each key on the statement, changed.
	of := func(change func(*schema.Statement), signers ...trusttest.Key) [][]byte {
		s := testStatement
		change(&s)
		return [][]byte{trusttest.Statement(s, signers...)}
	}
	as := func(payloadType, payload string) [][]byte {
		return [][]byte{trusttest.Envelope(payloadType, []byte(payload), a)}
	}
	// with is the envelope of a on a payload that says something else than a statement.
	with := func(old, new string) [][]byte {
		payload := string(trusttest.Payload(testStatement))
		if !strings.Contains(payload, old) {
			t.Fatalf("nothing to alter: %s", old)
		}
		return as(schema.StatementType, strings.Replace(payload, old, new, 1))
	}
	by := func(signers ...trusttest.Key) []byte { return trusttest.Statement(testStatement, signers...) }
	replaced := func(b []byte, old, new string) [][]byte {
		return [][]byte{bytes.Replace(b, []byte(old), []byte(new), 1)}
	}
	const none, one = "No valid signature found", "1 valid of 2 required signatures (by alice)"
	good := by(a)
	for name, c := range map[string]struct {
		envelopes [][]byte
		keys      []schema.AcceptedKey
		threshold int
		accepted  []string
		says      []string // parts of the refusal, in order
	}{
		"one of two keys is enough for 1": {[][]byte{good}, keys, 1, []string{"alice"}, nil},
		"two envelopes for 2":             {[][]byte{good, by(b)}, keys, 2, []string{"alice", "bob"}, nil},
		"two signatures in one envelope":  {[][]byte{by(b, a)}, keys, 2, []string{"bob", "alice"}, nil},
		"foreign and broken ones beside a good one are passed over": {
			[][]byte{[]byte("junk"), by(thief), good}, keys, 1, []string{"alice"}, nil},
		"no key id": {replaced(good, a.ID(), ""), keys, 1, []string{"alice"}, nil},

		"none": {nil, keys, 1, nil, []string{"the package carries no signature", none}},
		"unknown key": {[][]byte{by(thief)}, keys, 1, nil,
			[]string{"key id \"" + thief.ID()[:16], "is not accepted by this host", none}},
		"unknown key under the id of an accepted one": {replaced(by(thief), thief.ID(), a.ID()), keys, 1, nil,
			[]string{"key alice ignored", "does not verify", none}},
		"wrong package": {of(func(s *schema.Statement) { s.Package = x }, a), keys, 1, nil,
			[]string{"key alice ignored: it is for package " + x.Short(), none}},
		"another fleet": {of(func(s *schema.Statement) { s.Anchor = x }, a), keys, 1, nil,
			[]string{"another fleet", none}},
		"another manifest": {of(func(s *schema.Statement) { s.Manifest = x }, a), keys, 1, nil,
			[]string{"differently", none}},
		"one of two required": {[][]byte{good, by(thief)}, keys, 2, nil, []string{"is not accepted", one}},
		"the same key twice": {[][]byte{good, good}, keys, 2, nil,
			[]string{"key alice ignored: this key has signed already", one}},
		"the same key twice in one envelope": {[][]byte{by(a, a)}, keys, 2, nil, []string{"signed already", one}},
		"the same key accepted under two names": {[][]byte{good, good},
			[]schema.AcceptedKey{accept("alice", a), accept("al", a)}, 2, nil, []string{"signed already", one}},
		"another type of payload": {as("text/plain", "x"), keys, 1, nil, []string{`it is a "text/plain"`, none}},
		"a payload that is no statement": {as(schema.StatementType, "x"), keys, 1, nil,
			[]string{"key alice ignored", none}},
		"another name": {of(func(s *schema.Statement) { s.Name = "x" }, a), keys, 1, nil,
			[]string{"differently", none}},
		"a statement with a name twice": {with(`{"_type"`, `{"predicate":{},"_type"`), keys, 1, nil,
			[]string{"stands twice", none}},
		"a second subject": {with(`"subject":[`, `"subject":[{"name":"x","digest":{"sha256":"`+x.Hex()+`"}},`), keys, 1,
			nil, []string{"key alice ignored: statement: it has 2 subjects, not one", none}},
		"another predicate type": {with("package:v1", "plugin:v1"), keys, 1, nil,
			[]string{`key alice ignored: statement: its predicate type is "urn:bakehouse:plugin:v1"`, none}},
		"an older in-toto statement": {with("Statement/v1", "Statement/v0.1"), keys, 1, nil,
			[]string{`key alice ignored: statement: its type is "https://in-toto.io/Statement/v0.1"`, none}},
		"a digest by another algorithm alone": {with(`"sha256":"`, `"sha512":"`), keys, 1, nil,
			[]string{`key alice ignored: statement: digest of the subject: "sha256" is missing`, none}},
		"what was a statement before in-toto": {as("application/vnd.bakehouse.package.v1+json", `{"package":"`+
			testStatement.Package.String()+`"}`), keys, 1, nil,
			[]string{`it is a "application/vnd.bakehouse.package.v1+json", not a package statement`, none}},
		"that under the type of in-toto's": {as(schema.StatementType, `{"package":"`+
			testStatement.Package.String()+`"}`), keys, 1, nil,
			[]string{`key alice ignored: statement: "_type" is missing`, none}},
		"a payload type moved to another payload": {
			replaced(as("application/x", string(trusttest.Payload(testStatement)))[0], "application/x",
				schema.StatementType),
			keys, 1, nil, []string{"does not verify", none}},
		"an accepted key that cannot be read": {[][]byte{good},
			[]schema.AcceptedKey{{Name: "carol", Public: "nonsense"}}, 1, nil,
			[]string{"accepted key carol cannot be read", none}},
		"endless signatures": {[][]byte{manySignatures(t, thief)}, keys, 1, nil,
			[]string{"more than 64 signatures", none}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Verify(c.envelopes, testStatement, c.keys, c.threshold)
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

func TestEachIgnoredSignatureIsNamedWithItsReasonBesideTheAcceptedOnes(t *testing.T) {
	a, thief := trusttest.NewKey(), trusttest.NewKey()
	forged := bytes.Replace(trusttest.Statement(testStatement, thief), []byte(thief.ID()), []byte(a.ID()), 1)
	envelopes := [][]byte{[]byte("junk"), forged, trusttest.Statement(testStatement, a, a)}
	want := []string{"envelope 1", "key alice", "key alice"}
	reasons := []string{"invalid", "does not verify", "signed already"}
	for _, threshold := range []int{1, 2} {
		v, err := Judge(envelopes, testStatement, []schema.AcceptedKey{accept("alice", a)}, threshold)
		if (err == nil) != (threshold == 1) || !slices.Equal(v.Accepted, []string{"alice"}) ||
			len(v.Ignored) != len(want) {
			t.Fatalf("threshold %d: %+v, %v", threshold, v, err)
		}
		for i, s := range v.Ignored {
			if s.Key != want[i] || !strings.Contains(s.Reason, reasons[i]) {
				t.Errorf("threshold %d: %+v, want %s: …%s…", threshold, s, want[i], reasons[i])
			}
		}
	}
}

// Each type of key signs in one form: what another form of its signature is good for, nobody has to think about.
func TestEachTypeOfKeySignsInTheFormOfCosign(t *testing.T) {
	payload := trusttest.Payload(testStatement)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		k := trusttest.NewKeyOf(kind)
		keys := []schema.AcceptedKey{accept("k", k)}
		env := trusttest.Envelope(schema.StatementType, payload, k)
		if _, err := Verify([][]byte{env}, testStatement, keys, 1); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if kind != "rsa" {
			continue
		}
		k.Statement = k.Signer // PSS
		env = trusttest.Envelope(schema.StatementType, payload, k)
		if by, err := Verify([][]byte{env}, testStatement, keys, 1); err == nil ||
			!strings.Contains(err.Error(), "key k ignored: it does not verify") {
			t.Errorf("PSS: by %q, %v", by, err)
		}
	}
}

func manySignatures(t *testing.T, k trusttest.Key) []byte {
	keys := make([]trusttest.Key, schema.MaxEnvelopes+1)
	for i := range keys {
		keys[i] = k
	}
	return trusttest.Statement(testStatement, keys...)
}

func TestThresholdBelowOneIsNeverMet(t *testing.T) {
	if _, err := Verify(nil, testStatement, nil, 0); err == nil {
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
	unnamed := bytes.Replace(trusttest.Statement(testStatement, k), []byte(k.ID()), nil, 1)
	if err := theirs.VerifySignature(bytes.NewReader(unnamed), nil); err != nil {
		t.Errorf("sigstore refuses ours: %v", err)
	}
	var s signature.Signer = sigdsse.WrapSigner(k.Statement, schema.StatementType)
	env, err := s.SignMessage(bytes.NewReader(trusttest.Payload(testStatement)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Verify([][]byte{env}, testStatement, []schema.AcceptedKey{accept("k", k)}, 1)
	if err != nil || len(got) != 1 {
		t.Errorf("we refuse sigstore's: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	k := trusttest.NewKey()
	f.Add(trusttest.Statement(testStatement, k))
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=",` +
		`"signatures":[{"sig":"AA=="}]}`))
	f.Add([]byte(`{"signatures":null}`))
	other := trusttest.NewKey()
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := Verify([][]byte{b}, testStatement, []schema.AcceptedKey{accept("other", other)}, 1); err == nil {
			t.Errorf("accepted by %q", got)
		} else if !fault.IsRefusal(err) {
			t.Errorf("not a refusal: %v", err)
		}
	})
}
