package sign

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/durable/durabletest"
	"bakehouse/schema/fault"
)

// signers makes a pair of every type that is accepted.
var signerTypes = map[string]func() (crypto.Signer, error){
	"ed25519": keyTypes["ed25519"], "ecdsa-p256": keyTypes["ecdsa-p256"],
	"rsa": func() (crypto.Signer, error) { return rsa.GenerateKey(nil, 2048) }, // quicker than 3072
}

func TestKeysOfEveryTypeSignEveryRoleAndPackagesForAHost(t *testing.T) {
	for name, generate := range signerTypes {
		t.Run(name, func(t *testing.T) {
			f, st := newFleet(t), openStore(t)
			for _, use := range uses {
				priv, err := generate()
				if err != nil {
					t.Fatal(err)
				}
				f.takeKey(use, priv, use)
			}
			f.keys = f.ring()
			f.remakeRoot()
			f.mustPublish(st, next(start, want("web01", "package")))
			dir := t.TempDir()
			f.host(st, dir, start).mustGet(t, "web01", "package")
			f.mustPublish(st, next(start.Add(day), want("web01", "second")))
			f.host(st, dir, start.Add(day)).mustGet(t, "web01", "second")

			m, d := testManifest(schema.DigestOf(f.Anchor()))
			if err := Statement(t.Context(), st, f.keys, []string{"package"}, m, d); err != nil {
				t.Fatal(err)
			}
			accepted := []schema.AcceptedKey{{Name: "package", Public: f.Keys["package"].Public}}
			if by, err := trust.VerifyStatements(envelopes(t, st, m.SHA256), schema.StatementFor(m, d), accepted, 1); err != nil || !slices.Equal(by, []string{"package"}) {
				t.Errorf("signed by %q: %v", by, err)
			}
		})
	}
}

// A new passphrase replaces the file at once: whichever call fails, the key opens with the old one or the new one.
func TestAKeyWhosePassphraseChangeFailedHalfWayStillOpens(t *testing.T) {
	f := newFleet(t)
	path := filepath.Join(f.dir, "package.key")
	priv, err := keyTypes["ed25519"]()
	if err != nil {
		t.Fatal(err)
	}
	f.takeKey("package", priv, "package")
	sealed, err := encrypt(priv, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(pass string) *Keyring {
		return OpenKeys(f.Fleet, f.dir, func(string, bool) ([]byte, error) { return []byte(pass), nil })
	}
	change := func(disk durable.Disk) error {
		if err := os.WriteFile(path, sealed, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := with("old").changePassphrase(disk, "package", func() ([]byte, error) { return []byte("new"), nil })
		return err
	}
	count := &durabletest.Faults{At: -1}
	if err := change(count.Disk()); err != nil {
		t.Fatal(err)
	}
	calls := len(count.Calls())
	if calls < 3 {
		t.Fatalf("only %d calls: nothing was synced", calls)
	}
	for at := range calls { // the machine dies before the call
		err := change((&durabletest.Faults{At: at, Mode: durabletest.Dead}).Disk())
		left, rerr := os.ReadFile(path)
		if err == nil || rerr != nil {
			t.Fatalf("call %d: %v, %v", at, err, rerr)
		}
		if bytes.Equal(left, sealed) {
			continue
		}
		if _, err := with("new").Signer("package"); err != nil {
			t.Errorf("call %d: the old file is gone, and the new one: %v", at, err)
		}
	}
}

func TestAPrivateKeyThatOthersCanReadIsNotUsed(t *testing.T) {
	f := newFleet(t)
	f.keys.signers = nil
	if err := os.Chmod(filepath.Join(f.dir, "package.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := f.keys.Signer("package")
	if !errors.Is(err, errExposed) || fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestAKeySignsNeitherBeforeItsTimeNorAfterNorOnceItIsRetired(t *testing.T) {
	f := newFleet(t)
	key := f.Keys["package"]
	for name, change := range map[string]func(){
		StateEarly:   func() { key.NotBefore = start.Add(1) },
		StateExpired: func() { key.Expires = start },
		StateRetired: func() { key.Retired = start.Add(-day) },
	} {
		was := *key
		change()
		state, err := f.keys.state(key)
		if state != name || err == nil {
			t.Errorf("%s: it is %s, %v", name, state, err)
		}
		if names, err := f.keys.Names("package"); err == nil {
			t.Errorf("%s: %q sign", name, names)
		}
		if _, err := f.keys.Signer("package"); err == nil {
			t.Errorf("%s: it signs", name)
		}
		*key = was
	}
	key.NotBefore, key.Expires = start, start.Add(1)
	if _, err := f.keys.Signer("package"); err != nil {
		t.Error(err)
	}
}
