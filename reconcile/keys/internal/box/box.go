// Package box encrypts with a passphrase: scrypt makes a key of it, and NaCl's secret box encrypts and authenticates.
// The form is that of secure-systems-lab's "encrypted", which cosign and sigstore keep private keys in. Theirs is not
// used because its cost cannot be lowered for tests.
package box

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"
)

// DefaultCost is scrypt's N of what is sealed: 64 MiB and a good part of a second.
const DefaultCost = 1 << 16

// r and p are scrypt's other parameters; nobody uses others here.
const r, p = 8, 1

var (
	cost = DefaultCost
	// accepted are the costs of what is opened. Whoever can write to a file of a key must not choose how long a try
	// takes, in either direction.
	accepted = []int{1 << 15, DefaultCost, 1 << 17}
)

// SetCost makes everything in this process be sealed with another N, and opened with it, too. It is for keystest alone.
func SetCost(n int) {
	cost = n
	accepted = append(accepted, n)
}

const (
	kdfName    = "scrypt"
	cipherName = "nacl/secretbox"
)

// sealed is the JSON form; bytes are base64.
type sealed struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct {
			N int `json:"N"`
			R int `json:"r"`
			P int `json:"p"`
		} `json:"params"`
		Salt []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

func (s *sealed) key(passphrase []byte) (*[32]byte, error) {
	b, err := scrypt.Key(passphrase, s.KDF.Salt, s.KDF.Params.N, s.KDF.Params.R, s.KDF.Params.P, 32)
	if err != nil {
		return nil, err
	}
	return (*[32]byte)(b), nil
}

// Seal encrypts plain.
func Seal(plain, passphrase []byte) ([]byte, error) {
	var s sealed
	s.KDF.Name, s.Cipher.Name = kdfName, cipherName
	s.KDF.Params.N, s.KDF.Params.R, s.KDF.Params.P = cost, r, p
	s.KDF.Salt = make([]byte, 32)
	_, _ = rand.Read(s.KDF.Salt) // never fails
	var nonce [24]byte
	_, _ = rand.Read(nonce[:])
	s.Cipher.Nonce = nonce[:]
	key, err := s.key(passphrase)
	if err != nil {
		return nil, err
	}
	s.Ciphertext = secretbox.Seal(nil, plain, &nonce, key)
	return json.Marshal(s)
}

// ErrPassphrase is all that can be told of a box that does not open: another passphrase, or a damaged box.
var ErrPassphrase = errors.New("wrong passphrase, or the box is damaged")

// Open decrypts what Seal, cosign or sigstore made.
func Open(box, passphrase []byte) ([]byte, error) {
	var s sealed
	if err := json.Unmarshal(box, &s); err != nil {
		return nil, err
	}
	params := s.KDF.Params
	switch {
	case s.KDF.Name != kdfName || s.Cipher.Name != cipherName:
		return nil, fmt.Errorf("unknown form: %.20q and %.20q", s.KDF.Name, s.Cipher.Name)
	case !slices.Contains(accepted, params.N) || params.R != r || params.P != p:
		return nil, fmt.Errorf("unknown parameters of scrypt: N %d, r %d, p %d", params.N, params.R, params.P)
	case len(s.Cipher.Nonce) != 24:
		return nil, fmt.Errorf("a nonce of %d bytes", len(s.Cipher.Nonce))
	}
	key, err := s.key(passphrase)
	if err != nil {
		return nil, err
	}
	plain, ok := secretbox.Open(nil, s.Ciphertext, (*[24]byte)(s.Cipher.Nonce), key)
	if !ok {
		return nil, ErrPassphrase
	}
	return plain, nil
}
