package box

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// Keys of cosign's open here, and ours there, at the cost that operators pay.
func TestBoxesAreThoseOfCosign(t *testing.T) {
	plain, pass := []byte("a private key"), []byte("a passphrase")
	ours, err := Seal(plain, pass)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := encrypted.Decrypt(ours, pass); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("cosign reads %q, %v", got, err)
	}
	// As it was years ago, and half the wait.
	theirs, err := encrypted.EncryptWithCustomKDFParameters(plain, pass, encrypted.Legacy)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(theirs, pass); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("cosign's holds %q, %v", got, err)
	}
	if !bytes.Contains(ours, []byte(`"params":{"N":65536,"r":8,"p":1}`)) {
		t.Errorf("the cost is another: %s", ours)
	}
}

func TestABoxOpensToNothingButItsPassphraseUntouched(t *testing.T) {
	was, accept := cost, accepted
	defer func() { cost, accepted = was, accept }()
	SetCost(1 << 4)
	box, err := Seal([]byte("a private key"), []byte("a passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(box, []byte("a passphrase")); err != nil || string(got) != "a private key" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Open(box, []byte("another")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	for name, bend := range map[string]func(*sealed){
		"a changed byte":      func(s *sealed) { s.Ciphertext[20] ^= 1 },
		"a changed salt":      func(s *sealed) { s.KDF.Salt[0] ^= 1 },
		"a shorter nonce":     func(s *sealed) { s.Cipher.Nonce = s.Cipher.Nonce[1:] },
		"another cipher":      func(s *sealed) { s.Cipher.Name = "none" },
		"another kdf":         func(s *sealed) { s.KDF.Name = "md5" },
		"a cost of no use":    func(s *sealed) { s.KDF.Params.N = 2 },
		"a cost of all day":   func(s *sealed) { s.KDF.Params.N = 1 << 30 },
		"more memory than is": func(s *sealed) { s.KDF.Params.R = 1 << 20 },
		"nothing in it":       func(s *sealed) { s.Ciphertext = nil },
	} {
		var s sealed
		if err := json.Unmarshal(box, &s); err != nil {
			t.Fatal(err)
		}
		bend(&s)
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Open(b, []byte("a passphrase")); err == nil {
			t.Errorf("%s: opens to %q", name, got)
		}
	}
	if _, err := Open([]byte("{"), nil); err == nil || strings.Contains(err.Error(), "passphrase") {
		t.Errorf("what is no JSON: %v", err)
	}
}

// The product knows three costs, and a test that lowers it adds one.
func TestNoOtherCostIsAcceptedUnlessATestSaysSo(t *testing.T) {
	var s sealed
	s.KDF.Name, s.Cipher.Name, s.Cipher.Nonce = kdfName, cipherName, make([]byte, 24)
	s.KDF.Params.N, s.KDF.Params.R, s.KDF.Params.P = 1<<4, r, p
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(b, []byte("x")); err == nil || errors.Is(err, ErrPassphrase) {
		t.Errorf("got %v", err)
	}
}
