package trust

import (
	"bytes"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/trusttest"
)

func TestUnknownFieldsAreSignedFieldsToo(t *testing.T) {
	d := newDevice(t)
	d.must(d.refresh())
	k := trusttest.NewKeyOf("ecdsa")
	k.Pub.UnrecognizedFields = map[string]any{"extra-field": map[string]any{"a": 1, "b": nil}}
	k.Pub.Value.UnrecognizedFields = map[string]any{"private": nil}
	d.r.Allow(metadata.ROOT, k)
	d.r.Root.Signed.Roles[metadata.ROOT].Threshold = 2
	d.r.Root.Signed.UnrecognizedFields = map[string]any{"custom-field": "value", "none": nil}
	d.r.Root.Signed.Roles[metadata.ROOT].UnrecognizedFields = map[string]any{"another-field": []any{"value", nil}}
	d.r.Publish(metadata.ROOT)
	d.must(d.refresh())
	d.trusts("root 2", "snapshot 1", "targets 1", "timestamp 1")
	d.r.Bend(metadata.ROOT, func(b []byte) []byte { return b })
	d.r.Root.Signed.UnrecognizedFields["custom-field"] = "other"
	d.r.Publish(metadata.ROOT)
	d.r.Bend(metadata.ROOT, func(b []byte) []byte { return bytes.Replace(b, []byte(`"other"`), []byte(`"value"`), 1) })
	d.mustFail(d.refresh(), "not enough signatures")
}

func TestKeyIDHashAlgorithmsAreOfNoMeaning(t *testing.T) {
	d := newDevice(t)
	d.r.Signers[metadata.SNAPSHOT] = nil
	d.r.Root.Signed.Roles[metadata.SNAPSHOT].KeyIDs = []string{}
	k := trusttest.NewKey()
	k.Pub.UnrecognizedFields = map[string]any{"keyid_hash_algorithms": "md5"}
	d.r.Allow(metadata.SNAPSHOT, k)
	d.r.Publish(metadata.ROOT)
	d.r.PublishAll()
	d.must(d.refresh())
	d.trusts("root 2", "snapshot 2", "targets 1", "timestamp 2")
}

func TestEveryKeyTypeOfTheSpecification(t *testing.T) {
	for name, c := range map[string]struct {
		kind    string
		keytype string
	}{
		"ed25519":                    {"ed25519", "ed25519"},
		"ecdsa":                      {"ecdsa", "ecdsa"},
		"ecdsa by its older name":    {"ecdsa", "ecdsa-sha2-nistp256"},
		"rsa with PSS and full salt": {"rsa", "rsa"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			k := trusttest.NewKeyOf(c.kind)
			k.Pub.Type = c.keytype
			d.r.Allow(metadata.ROOT, k)
			d.r.Root.Signed.Roles[metadata.ROOT].Threshold = 2
			d.r.Publish(metadata.ROOT)
			d.must(d.refresh())
			d.trusts("root 2", "snapshot 1", "targets 1", "timestamp 1")
			d.r.Publish(metadata.ROOT)
			d.r.Bend(metadata.ROOT, func(b []byte) []byte {
				i := bytes.Index(b, []byte(k.ID()+`","sig":"`)) + len(k.ID()) + len(`","sig":"`) + 40
				if b[i] == '7' {
					b[i] = '8'
				} else {
					b[i] = '7'
				}
				return b
			})
			d.mustFail(d.refresh(), "not enough signatures")
			d.trusts("root 2", "snapshot 1", "targets 1", "timestamp 1")
		})
	}
}

// Others may list keys that this program cannot read. The rest still has to reach the threshold, and may.
func TestKeysOfUnknownTypesAreLeftOut(t *testing.T) {
	for name, alien := range map[string]*metadata.Key{
		"type":   {Type: "sigstore-oidc", Scheme: "Fulcio", Value: metadata.KeyVal{UnrecognizedFields: map[string]any{"identity": "a@b", "issuer": "https://issuer"}}},
		"curve":  {Type: "ecdsa", Scheme: "ecdsa-sha2-nistp999", Value: metadata.KeyVal{PublicKey: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}},
		"coding": {Type: "ed25519", Scheme: "ed25519", Value: metadata.KeyVal{PublicKey: strings.Repeat("zz", 32)}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			k := trusttest.Key{Pub: alien}
			for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
				ids := d.r.Root.Signed.Roles[role].KeyIDs
				if err := d.r.Root.Signed.AddKey(k.Pub, role); err != nil {
					t.Fatal(err)
				}
				d.r.Root.Signed.Roles[role].KeyIDs = append([]string{k.ID()}, ids...)
			}
			d.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "A", Paths: []string{"*"}})
			ds := d.r.Targets[metadata.TARGETS].Signed.Delegations
			ds.Keys[k.ID()] = alien
			ds.Roles[0].KeyIDs = append([]string{k.ID(), "never listed"}, ds.Roles[0].KeyIDs...)
			d.r.Add("A", "file", "content")
			d.r.Publish(metadata.ROOT)
			d.r.PublishAll("A", metadata.TARGETS)
			d.must(d.download("file"))
			d.r.Publish(metadata.ROOT) // and from a root that lists it to the next one
			d.must(d.refresh())
			d.r.Root.Signed.Roles[metadata.SNAPSHOT].Threshold = 2
			d.r.Publish(metadata.ROOT)
			d.mustFail(d.refresh(), "not enough signatures")
		})
	}
}

func TestThresholdOfSignatures(t *testing.T) {
	d := newDevice(t)
	d.r.Root.Signed.Roles[metadata.SNAPSHOT].Threshold = 3
	d.r.Allow(metadata.SNAPSHOT, trusttest.NewKey())
	d.r.Allow(metadata.SNAPSHOT, trusttest.NewKeyOf("ecdsa"))
	d.r.Publish(metadata.ROOT)
	d.r.PublishAll()
	d.must(d.refresh())
	keys := d.r.Signers[metadata.SNAPSHOT]
	for missing := range keys {
		d.r.Signers[metadata.SNAPSHOT] = trusttest.Without(keys, missing)
		d.r.PublishAll()
		d.mustFail(d.refresh(), "got 2, want 3")
	}
	d.r.Signers[metadata.SNAPSHOT] = keys
	d.r.PublishAll()
	d.must(d.refresh())
	d.r.Root.Signed.Roles[metadata.SNAPSHOT].Threshold = 4 // more than there are keys
	d.r.Publish(metadata.ROOT)
	d.r.PublishAll()
	d.mustFail(d.refresh(), "got 3, want 4")
	d.trusts("root 3", "snapshot 6", "targets 1", "timestamp 7")
}

func TestOneKeyListedManyTimes(t *testing.T) {
	d := newDevice(t)
	k := trusttest.NewKey()
	d.r.Allow(metadata.SNAPSHOT, k)
	role := d.r.Root.Signed.Roles[metadata.SNAPSHOT]
	for range 8 {
		role.KeyIDs = append(role.KeyIDs, k.ID())
	}
	role.Threshold = 6
	d.r.Publish(metadata.ROOT)
	d.r.PublishAll()
	d.mustFail(d.refresh(), "got 2, want 6")
	d.r.Bend(metadata.SNAPSHOT, func(b []byte) []byte { return twice(t, b, k.ID()) })
	d.mustFail(d.refresh(), "multiple signatures")
}

func TestSignatureThatStandsTwice(t *testing.T) {
	d := newDevice(t)
	d.r.Bend(metadata.SNAPSHOT, func(b []byte) []byte { return twice(t, b, d.r.Signers[metadata.SNAPSHOT][0].ID()) })
	d.mustFail(d.refresh(), "multiple signatures")
	d.trusts("root 1", "timestamp 1")
}

// twice lets a key's signature stand in b a second time.
func twice(t *testing.T, b []byte, keyID string) []byte {
	t.Helper()
	md, err := metadata.Snapshot().FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range md.Signatures {
		if s.KeyID == keyID {
			md.Signatures = append(md.Signatures, s)
			return bytesOf(t, md)
		}
	}
	t.Fatalf("%s has not signed", keyID)
	return nil
}

func TestInvalidSignatureBesideEnoughValidOnes(t *testing.T) {
	for name, sig := range map[string]metadata.HexBytes{"plausible": bytes.Repeat([]byte{7}, 64), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			d.r.Allow(metadata.TIMESTAMP, trusttest.NewKey())
			d.r.Publish(metadata.ROOT, metadata.TIMESTAMP)
			d.r.Bend(metadata.TIMESTAMP, func(b []byte) []byte {
				md, err := metadata.Timestamp().FromBytes(b)
				if err != nil {
					t.Fatal(err)
				}
				md.Signatures[0].Signature = sig
				return bytesOf(t, md)
			})
			d.must(d.refresh())
		})
	}
}

// signing is one version of a role: who may sign it, how many must, and who does, by the places of keys in a list.
type signing struct {
	keys      []int
	threshold int
	sigs      []int
}

var five = []int{0, 1, 2, 3, 4}
var other = []int{0, 1, 3, 4, 5}

func TestRootRotations(t *testing.T) {
	for name, c := range map[string]struct {
		steps []signing
		fails bool // the last one
	}{
		"one key":                      {steps: []signing{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 1}}, {[]int{2}, 1, []int{2}}}},
		"signatures that nobody needs": {steps: []signing{{[]int{1}, 1, []int{3, 1, 4}}, {[]int{2}, 1, []int{3, 2, 1, 4}}, {[]int{2}, 1, []int{3, 2, 4}}}},
		"3 of 5 in several choices":    {steps: []signing{{five, 3, []int{0, 2, 4}}, {five, 3, []int{0, 4, 1}}, {five, 3, []int{0, 1, 3}}, {five, 3, []int{0, 1, 3}}}},
		"one of 5":                     {steps: []signing{{five, 3, []int{0, 2, 4}}, {other, 3, []int{0, 4, 1}}}},
		"one of 5 with a step between": {steps: []signing{{five, 3, []int{0, 2, 4}}, {other, 3, []int{0, 2, 4, 5}}, {other, 3, []int{0, 4, 5}}}},
		"all of 5 with a step between": {steps: []signing{{five, 3, []int{0, 2, 4}}, {[]int{5, 6, 7, 8, 9}, 3, []int{0, 2, 4, 5, 6, 7}}, {[]int{5, 6, 7, 8, 9}, 3, []int{5, 6, 7}}}},
		"threshold up":                 {steps: []signing{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{1, 2}}}},
		"threshold down":               {steps: []signing{{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}}}},
		"threshold up with a key more": {steps: []signing{{[]int{1}, 1, []int{1}}, {[]int{1, 2}, 2, []int{1, 2}}}},
		"without the old key":          {fails: true, steps: []signing{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 3, 4}}}},
		"without the new key":          {fails: true, steps: []signing{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{1, 3, 4}}}},
		"without 3 new keys":           {fails: true, steps: []signing{{five, 3, []int{0, 2, 4}}, {other, 3, []int{0, 2, 4}}}},
		"without 3 old keys":           {fails: true, steps: []signing{{five, 3, []int{0, 2, 4}}, {other, 3, []int{0, 4, 5}}}},
		"without the new threshold":    {fails: true, steps: []signing{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{2}}}},
		"without the old threshold":    {fails: true, steps: []signing{{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			d.dir = t.TempDir()
			keys := tenKeys(t)
			d.r.Forget(metadata.ROOT)
			var roots [][]byte
			for i, s := range c.steps {
				d.r.Root.Signed.Version = max(1, int64(i))
				sets(d, metadata.ROOT, keys, s)
				d.r.Publish(metadata.ROOT)
				roots = append(roots, d.r.Latest(metadata.ROOT))
			}
			d.must(d.init(roots[0]))
			want := roots[len(roots)-1]
			if c.fails {
				want = roots[len(roots)-2]
				d.mustFail(d.refresh(), "not enough signatures")
			} else {
				d.must(d.refresh())
			}
			if got := (&dir{Path: d.dir}).Read(rootFile, 1<<20); !bytes.Equal(got, want) {
				t.Errorf("root.json is %s", got)
			}
		})
	}
}

func TestRotationsOfTheOtherRoles(t *testing.T) {
	for name, c := range map[string]struct {
		signing
		fails bool
	}{
		"one key":                      {signing{[]int{2}, 1, []int{2}}, false},
		"signatures that nobody needs": {signing{[]int{1}, 1, []int{3, 1, 4}}, false},
		"without the new key":          {signing{[]int{2}, 1, []int{1, 3, 4}}, true},
		"one of 3 by an old key":       {signing{other, 3, []int{0, 2, 4}}, true},
		"2 of 3":                       {signing{other, 3, []int{0, 4}}, true},
		"3 of 5":                       {signing{five, 3, []int{0, 2, 4}}, false},
		"3 others of 5":                {signing{five, 3, []int{4, 1, 3}}, false},
	} {
		for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
			t.Run(role+" "+name, func(t *testing.T) {
				d := newDevice(t)
				d.must(d.refresh())
				sets(d, role, tenKeys(t), c.signing)
				d.r.Publish(metadata.ROOT)
				d.r.PublishAll(metadata.TARGETS)
				if c.fails {
					d.mustFail(d.refresh(), "not enough signatures")
				} else {
					d.must(d.refresh())
					d.trusts("root 2", "snapshot 2", "targets 2", "timestamp 2")
				}
			})
		}
	}
}

func tenKeys(t *testing.T) []trusttest.Key {
	t.Helper()
	var keys []trusttest.Key
	for range 10 {
		keys = append(keys, trusttest.NewKey())
	}
	return keys
}

func sets(d *device, role string, keys []trusttest.Key, s signing) {
	d.r.Root.Signed.Roles[role] = &metadata.Role{KeyIDs: []string{}, Threshold: s.threshold}
	for _, i := range s.keys {
		d.r.Allow(role, keys[i])
	}
	d.r.Signers[role] = nil
	for _, i := range s.sigs {
		d.r.Signers[role] = append(d.r.Signers[role], keys[i])
	}
}
