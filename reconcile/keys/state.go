package keys

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// States of a key on this machine, as `key list` prints them.
const (
	StateUsable    = "usable"
	StateElsewhere = "elsewhere"     // its private half is not on this machine
	StateCorrupt   = "corrupt"       // its file is no encrypted private key, or cannot be read
	StateExposed   = "exposed"       // others can read its file
	StateMismatch  = "mismatch"      // its file is of another key
	StateEarly     = "not yet valid" // its certificate begins later
	StateExpired   = "expired"
	StateRetired   = "retired"
)

// Usable says why the key cannot sign here and now.
func (k *Keyring) Usable(key *fleet.Key) error {
	_, err := k.state(key)
	return err
}

// state is a State… constant, with the error that signing would end in. Neither is a passphrase asked for nor a KMS
// called.
func (k *Keyring) state(key *fleet.Key) (string, error) {
	now := k.Now()
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case !key.Retired.IsZero():
		return StateRetired, fmt.Errorf("key %s was retired at %s", key.Name, at(key.Retired))
	case now.Before(key.NotBefore):
		return StateEarly, fmt.Errorf("key %s is valid from %s", key.Name, at(key.NotBefore))
	case !key.Expires.IsZero() && !now.Before(key.Expires):
		return StateExpired, fmt.Errorf("key %s expired at %s", key.Name, at(key.Expires))
	}
	if scheme, _, ok := strings.Cut(key.Private, "://"); ok {
		if err := k.services.reach(scheme); err != nil {
			return StateElsewhere, fault.Hint(fmt.Errorf("key %s: %w", key.Name, err), "%s", fault.HintOf(err))
		}
		return StateUsable, nil
	}
	path, err := k.path(key)
	if err != nil {
		return StateElsewhere, err
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return StateElsewhere, fmt.Errorf("key %s: %w", key.Name, err)
		}
		return StateCorrupt, fmt.Errorf("key %s: %w", key.Name, err)
	}
	return StateUsable, nil
}

// inspect is state, and also looks into the key's file. checked reports whether that says which public half it belongs
// to.
func (k *Keyring) inspect(key *fleet.Key) (state string, checked bool, err error) {
	state, err = k.state(key)
	if err != nil || strings.Contains(key.Private, "://") {
		return state, false, err
	}
	path, err := k.path(key)
	if err != nil {
		return StateElsewhere, false, err
	}
	b, err := readPrivate(path)
	switch {
	case errors.Is(err, errExposed):
		return StateExposed, false, err
	case err == nil:
		err = checkEncrypted(b)
	}
	if err != nil {
		return StateCorrupt, false, fmt.Errorf("key %s (%s): %w", key.Name, path, err)
	}
	block, _ := pem.Decode(b)
	got, ok := block.Headers[publicHeader]
	want, err := ID(key)
	switch {
	case err != nil:
		return StateCorrupt, false, err
	case !ok:
		return StateUsable, false, nil
	case got != want:
		return StateMismatch, true, mismatch(key)
	}
	return StateUsable, true, nil
}
