package keys

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"bakehouse/reconcile/keys/internal/box"
	"bakehouse/schema/durable"
	"bakehouse/schema/durable/durabletest"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

func TestMain(m *testing.M) {
	box.SetCost(1 << 4)
	m.Run()
}

// start is when the tests' keys sign.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// packageKey is a keyring with one key, "package", whose file has what sealed says.
func packageKey(t *testing.T, priv crypto.Signer, sealed []byte) (ring *Keyring, key *fleet.Key, path string) {
	t.Helper()
	public, err := cryptoutils.MarshalPublicKeyToPEM(priv.Public())
	if err != nil {
		t.Fatal(err)
	}
	key = &fleet.Key{Name: "package", Public: string(public), Uses: []string{fleet.UsePackage}}
	dir := t.TempDir()
	path = filepath.Join(dir, FileName(key.Name))
	if err := os.WriteFile(path, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	ring = Open(&fleet.Fleet{Keys: map[string]*fleet.Key{key.Name: key}}, dir, func(string, bool) ([]byte, error) {
		return nil, errors.New("asked for a passphrase")
	})
	ring.Now = func() time.Time { return start }
	return ring, key, path
}

func ed25519Key(t *testing.T) crypto.Signer {
	t.Helper()
	priv, err := generators[DefaultType]()
	if err != nil {
		t.Fatal(err)
	}
	return priv
}

// A new passphrase replaces the file at once: whichever call fails, the key opens with the old one or the new one.
func TestAKeyWhosePassphraseChangeFailedHalfWayStillOpens(t *testing.T) {
	priv := ed25519Key(t)
	sealed, err := encrypt(priv, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	ring, key, path := packageKey(t, priv, sealed)
	with := func(pass string) *Keyring {
		f := &fleet.Fleet{Keys: map[string]*fleet.Key{key.Name: key}}
		return Open(f, ring.dir, func(string, bool) ([]byte, error) {
			return []byte(pass), nil
		})
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
		if _, err := with("new").StatementSigner("package"); err != nil {
			t.Errorf("call %d: the old file is gone, and the new one: %v", at, err)
		}
	}
}

func TestAPrivateKeyThatOthersCanReadIsNotUsed(t *testing.T) {
	ring, _, path := packageKey(t, ed25519Key(t), []byte("whatever"))
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := ring.StatementSigner("package")
	if !errors.Is(err, errExposed) || fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestAKeySignsNeitherBeforeItsTimeNorAfterNorOnceItIsRetired(t *testing.T) {
	priv := ed25519Key(t)
	ring, key, _ := packageKey(t, priv, []byte("decrypted already"))
	signers, err := LoadSigners(priv)
	if err != nil {
		t.Fatal(err)
	}
	ring.Use(key.Name, signers)
	for name, change := range map[string]func(){
		StateEarly:   func() { key.NotBefore = start.Add(1) },
		StateExpired: func() { key.Expires = start },
		StateRetired: func() { key.Retired = start.Add(-24 * time.Hour) },
	} {
		was := *key
		change()
		state, err := ring.state(key)
		if state != name || err == nil {
			t.Errorf("%s: it is %s, %v", name, state, err)
		}
		if names, err := ring.Names("package"); err == nil {
			t.Errorf("%s: %q sign", name, names)
		}
		if _, err := ring.StatementSigner("package"); err == nil {
			t.Errorf("%s: it signs", name)
		}
		*key = was
	}
	key.NotBefore, key.Expires = start, start.Add(1)
	if _, err := ring.StatementSigner("package"); err != nil {
		t.Error(err)
	}
}
