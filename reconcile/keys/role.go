package keys

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/quorum"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Uses are what a key may be for: the roles of TUF, statements on packages, and what is reserved for a log.
var Uses = slices.Concat(fleet.Roles, []string{fleet.UsePackage, fleet.UseLog, fleet.UseWitness})

// Sorted lists the keys of f by name.
func Sorted(f *fleet.Fleet) []*fleet.Key {
	var keys []*fleet.Key
	for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
		keys = append(keys, f.Keys[name])
	}
	return keys
}

// Enough reports whether as many keys as have to can sign for each of the uses here and now.
func (k *Keyring) Enough(threshold func(use string) int, uses ...string) error {
	for _, use := range uses {
		names, err := k.Names(use)
		if err != nil {
			return err
		}
		if want := threshold(use); len(names) < want {
			able := strings.Join(names, ", ")
			return fault.Hint(fmt.Errorf("%d keys have to sign %s, and only %s can here", want, use, able),
				hintKeyDir)
		}
	}
	return nil
}

// SignRole signs md with as many of the ring's keys as the role needs, in the order of their names, and returns the
// file. A signature more than that is only weight.
func SignRole[T metadata.Roles](ring *Keyring, md *metadata.Metadata[T], role *metadata.Role) ([]byte, error) {
	md.ClearSignatures()
	err := ring.each(role, func(name, _ string, s signature.Signer) error {
		_, err := Sign(md, name, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return md.ToBytes(false)
}

// SignBytes is SignRole for the signed part of a file as it is to stand there.
func (k *Keyring) SignBytes(signed []byte, role *metadata.Role) (sigs []quorum.Signature, err error) {
	err = k.each(role, func(name, id string, s signature.Signer) error {
		sig, err := s.SignMessage(bytes.NewReader(signed))
		if err != nil {
			return fmt.Errorf("sign with key %s: %w", name, err)
		}
		sigs = append(sigs, quorum.Signature{KeyID: id, Sig: sig})
		return nil
	})
	return sigs, err
}

// each signs with as many keys as the role needs.
func (k *Keyring) each(role *metadata.Role, sign func(name, id string, s signature.Signer) error) error {
	n := 0
	var why []error
	for _, name := range slices.Sorted(maps.Keys(k.keys)) {
		if n >= role.Threshold {
			break
		}
		key := k.keys[name]
		id, err := ID(key)
		if err != nil {
			return err
		}
		if !slices.Contains(role.KeyIDs, id) {
			continue
		}
		if err := k.Usable(key); err != nil {
			why = append(why, err)
			continue
		}
		s, err := k.MetadataSigner(name)
		if err != nil {
			return err
		}
		if err := sign(name, id, s); err != nil {
			return err
		}
		n++
	}
	if n < role.Threshold {
		return fault.Hint(fmt.Errorf("%d of %d keys can sign here: %w", n, role.Threshold, errors.Join(why...)),
			hintKeyDir)
	}
	return nil
}

// Sign adds the signature of the key of that name to md. go-tuf does not say why a signer failed, so that is caught
// on the way.
func Sign[T metadata.Roles](md *metadata.Metadata[T], name string, s signature.Signer) (*metadata.Signature, error) {
	heard := &hearing{Signer: s}
	sig, err := md.Sign(heard)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", name, cmp.Or(heard.err, err))
	}
	return sig, nil
}

// hearing keeps a signer's error.
type hearing struct {
	signature.Signer
	err error
}

func (h *hearing) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	sig, err := h.Signer.SignMessage(message, opts...)
	h.err = err
	return sig, err
}
