package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"

	"bakehouse/schema"
)

// check refuses bytes that a TUF parser must not be shown. go-tuf decodes before it verifies, and what a mirror without
// any key sends can stop it there: a null entry is a nil pointer that it follows, a key of the wrong length panics in
// crypto/ed25519, a name that stands twice is signed in one meaning and may be read in another.
func check(name string, b []byte, limit int64) error {
	if int64(len(b)) > limit {
		return refuse("%s: longer than %d bytes", name, limit)
	}
	var v any
	if err := schema.Decode(b, &v); err != nil {
		return refuse("%s: %w", name, err)
	}
	if hasNull(v) {
		return refuse("%s: a value is null", name)
	}
	// Read with the same decoder as go-tuf reads, which also takes names that differ in case.
	type keys map[string]struct {
		Type  string `json:"keytype"`
		Value struct {
			Public string `json:"public"`
		} `json:"keyval"`
	}
	var k struct {
		Signed struct {
			Keys        keys `json:"keys"`
			Delegations struct {
				Keys keys `json:"keys"`
			} `json:"delegations"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(b, &k); err != nil {
		return refuse("%s: %w", name, err)
	}
	for _, ks := range []keys{k.Signed.Keys, k.Signed.Delegations.Keys} {
		for id, key := range ks {
			if key.Type == "ed25519" && len(key.Value.Public) != 64 {
				return refuse("%s: key %.16s has the wrong length", name, id)
			}
		}
	}
	return nil
}

func hasNull(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		for _, e := range v {
			if hasNull(e) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if hasNull(e) {
				return true
			}
		}
	}
	return false
}

// panicError is a panic inside go-tuf. check leaves none that we know of; fuzzing looks for this type.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("malformed beyond reading: %v", e.value) }

// verify runs one step of go-tuf on bytes that passed check, as a refusal if it fails. A panic on a host would be an
// updater that a server can crash at will, so it is one more refusal.
func verify(name string, step func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = refuse("%s: %w", name, &panicError{r, debug.Stack()})
		}
	}()
	if err := step(); err != nil {
		if schema.IsRefusal(err) {
			return err
		}
		var fault *schema.Fault
		if errors.As(err, &fault) {
			return err
		}
		return refuse("%s: %w", name, err)
	}
	return nil
}
