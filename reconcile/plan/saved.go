package plan

import (
	"encoding/json"
	"errors"
	"fmt"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Saved is a plan as `plan --out` writes it: what was looked at, bound to all that decides on its outcome. Applying it
// means to check the binding and run the pass, which then can do nothing else than what was shown.
type Saved struct {
	Schema  int     `json:"schema"`
	Binding         // what must not have moved
	Report  *Report `json:"report"`
}

// Binding is what a plan depends on.
type Binding struct {
	Tree      string        `json:"tree"`      // of git, 40 hex digits
	Head      int64         `json:"head"`      // version of the store's timestamp, 0 for none
	Timestamp schema.Digest `json:"timestamp"` // of that timestamp's bytes: equal versions of two stores differ
	Tool      string        `json:"tool"`
	Bake      int           `json:"bake"`
}

const savedSchema = 1

// MaxSaved bounds a saved plan, in bytes.
const MaxSaved = 256 << 20

// Encode is the file's content.
func (s Saved) Encode() ([]byte, error) {
	s.Schema = savedSchema
	b, err := json.MarshalIndent(s, "", " ")
	return append(b, '\n'), err
}

// ParseBinding reads a saved plan's binding.
func ParseBinding(b []byte) (Binding, error) {
	var s struct {
		Schema int `json:"schema"`
		Binding
	}
	if err := schema.Decode(b, &s); err != nil {
		return s.Binding, fmt.Errorf("is no saved plan: %w", err)
	}
	if s.Schema != savedSchema || s.Tree == "" || s.Tool == "" {
		return s.Binding, errors.New("is no saved plan of this version")
	}
	return s.Binding, nil
}

const again = "make a new one, and look at it again: bakehouse plan --against STORE --out FILE"

// CheckSource refuses a plan that is of another tree or tool than now.
func (b Binding) CheckSource(now Binding) error {
	switch {
	case b.Tool != now.Tool || b.Bake != now.Bake:
		return fault.Hint(fmt.Errorf("the plan is stale: it was made by bakehouse %.80q (bake version %d), this is %s "+
			"(bake version %d)",
			b.Tool, b.Bake, now.Tool, now.Bake), again)
	case b.Tree != now.Tree:
		return fault.Hint(fmt.Errorf("the plan is stale: it is of tree %.12s, and the commit to publish has tree %.12s",
			b.Tree, now.Tree), again)
	}
	return nil
}

// CheckHead refuses a plan that was made against another state of the store than now.
func (b Binding) CheckHead(now Binding) error {
	switch {
	case b.Head != now.Head:
		return fault.Hint(fmt.Errorf("the plan is stale: it was made against timestamp %d of the store, which is at %d now",
			b.Head, now.Head),
			again)
	case b.Timestamp != now.Timestamp:
		return fault.Hint(fmt.Errorf("the plan was made against another store, whose timestamp %d differs", b.Head),
			"name the store that the plan was made against")
	}
	return nil
}
