package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func checkLength(name string, b []byte, limit int64) error {
	if int64(len(b)) > limit {
		return refuse("%s: longer than %d bytes", name, limit)
	}
	return nil
}

// guarded runs one step of go-tuf on a file.
func guarded(name string, b []byte, step func() error) error {
	if err := check(name, b); err != nil {
		return err
	}
	return verify(name, step)
}

// check refuses bytes that a TUF parser must not be shown. go-tuf decodes before it verifies, and what a mirror without
// any key sends can stop it there: a null entry is a nil pointer that it follows, a key of the wrong length panics in
// crypto/ed25519, a name that stands twice is signed in one meaning and may be read in another.
func check(name string, b []byte) error {
	// Read with the same decoder as go-tuf reads, which also takes names that differ in case. Fields that nobody knows may
	// hold what they like, null as well.
	type key struct {
		Type  string `json:"keytype"`
		Value struct {
			Public string `json:"public"`
		} `json:"keyval"`
	}
	type entries map[string]*json.RawMessage
	var m struct {
		Signatures []*json.RawMessage `json:"signatures"`
		Signed     *struct {
			Keys        map[string]*key `json:"keys"`
			Roles       entries         `json:"roles"`
			Meta        entries         `json:"meta"`
			Targets     entries         `json:"targets"`
			Delegations struct {
				Keys  map[string]*key    `json:"keys"`
				Roles []*json.RawMessage `json:"roles"`
			} `json:"delegations"`
		} `json:"signed"`
	}
	if err := schema.Decode(b, &m); err != nil {
		return refuse("%s: %w", name, err)
	}
	if m.Signed == nil {
		return refuse(`%s: "signed" is absent or null`, name)
	}
	null := slices.Contains(m.Signatures, nil) || slices.Contains(m.Signed.Delegations.Roles, nil)
	for _, es := range []entries{m.Signed.Roles, m.Signed.Meta, m.Signed.Targets} {
		for _, e := range es {
			null = null || e == nil
		}
	}
	for _, ks := range []map[string]*key{m.Signed.Keys, m.Signed.Delegations.Keys} {
		for id, k := range ks {
			if k == nil {
				null = true
			} else if k.Type == "ed25519" && len(k.Value.Public) != 64 {
				return refuse("%s: key %.16s has the wrong length", name, id)
			}
		}
	}
	if null {
		return refuse("%s: an entry is null", name)
	}
	return nil
}

// panicError is a panic inside go-tuf. check leaves none that we know of; fuzzing looks for this type.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("malformed: %v", e.value) }

// verify runs one step of go-tuf on bytes that passed check, as a refusal if it fails. A panic on a host would be an
// updater that a server can crash at will, so it is one more refusal.
func verify(name string, step func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = refuse("%s: %w", name, &panicError{r, debug.Stack()})
		}
	}()
	if err := step(); err != nil {
		if fault.IsRefusal(err) {
			return err
		}
		var f *fault.Fault
		if errors.As(err, &f) {
			return err
		}
		return refuse("%s: %w", name, err)
	}
	return nil
}
