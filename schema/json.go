package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"bakehouse/schema/plain"
)

// maxDepth bounds nesting before the decoder recurses; nothing of ours nests deeper than ten.
const maxDepth = 32

// Decode reads exactly one JSON value into v: no trailing data, no deep nesting, no name twice in an object. Unknown
// names are allowed, so that an older program reads what a newer one wrote.
//
// Errors quote at most a short piece of it: encoding/json's own quote whole numbers and strings.
func Decode(b []byte, v any) error {
	err := checkJSON(b)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	return plain.Error(err, plain.MaxName)
}

// checkJSON walks the tokens: encoding/json lets the last of two equal names win, which two parsers may see differently.
func checkJSON(b []byte) error {
	type frame struct {
		names map[string]bool // nil in an array
		value bool            // in an object: the next token is a value
	}
	var stack []frame
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for done := false; !done; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if n := len(stack); n > 0 && stack[n-1].names != nil {
			top := &stack[n-1]
			if s, ok := t.(string); ok && !top.value {
				if top.names[s] {
					return fmt.Errorf("the name %.80q stands twice in one object", s)
				}
				top.names[s] = true
				top.value = true
				continue
			}
			top.value = false
		}
		switch t {
		case json.Delim('{'):
			stack = append(stack, frame{names: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, frame{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		if len(stack) > maxDepth {
			return fmt.Errorf("nested deeper than %d", maxDepth)
		}
		done = len(stack) == 0
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the JSON value")
	}
	return nil
}
