package schema

import (
	"encoding/json"
	"fmt"

	"bakehouse/schema/plain"
)

// maxDepth bounds nesting before the decoder recurses; nothing of ours nests deeper than ten.
const maxDepth = 32

// Decode reads exactly one JSON value into v: no trailing data, no deep nesting, no name twice in an object. Unknown
// names are allowed, so that an older program reads what a newer one wrote.
//
// Errors quote at most a short piece of it: encoding/json's own quote whole numbers and strings.
func Decode(b []byte, v any) error {
	err := checkNames(b)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	return plain.Error(err, plain.MaxName)
}

// checkNames looks for names that stand twice in an object: encoding/json lets the last of two win, which two parsers
// may see differently. It bounds the nesting, too. Of what is no JSON it may say anything: json.Unmarshal says that
// before it reads a value. A poll's report is decoded for every host each hour, so this allocates next to nothing:
// encoding/json's tokens took two thirds of Decode.
func checkNames(b []byte) error {
	var frames [maxDepth + 1]struct {
		object, value bool // value: the next string is one
		names         nameSet
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		top := &frames[depth]
		switch b[i] {
		case '{', '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested deeper than %d", maxDepth)
			}
			frames[depth].object, frames[depth].value = b[i] == '{', false
			frames[depth].names = nameSet{few: frames[depth].names.few[:0]}
		case '}', ']':
			depth = max(0, depth-1)
		case ',':
			top.value = false
		case ':':
			top.value = true
		case '"':
			end, simple := endOfString(b, i)
			if top.object && !top.value && end <= len(b) {
				name := b[i+1 : end-1]
				if !simple { // as it is read
					var s string
					if err := json.Unmarshal(b[i:end], &s); err != nil {
						return err
					}
					name = []byte(s)
				}
				if !top.names.add(name) {
					return fmt.Errorf("the name %.80q stands twice in one object", name)
				}
			}
			i = end - 1
		}
	}
	return nil
}

// endOfString is where the string that begins at i is over, beyond b if it is not. simple: it is read as it stands.
func endOfString(b []byte, i int) (end int, simple bool) {
	simple = true
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, simple
		case c == '\\':
			simple = false
			i++
		case c >= 0x80:
			simple = false
		}
	}
	return len(b) + 1, false
}

// nameSet is the names of an object: few, mostly.
type nameSet struct {
	few  [][]byte
	many map[string]bool
}

// add reports whether the name is new.
func (n *nameSet) add(name []byte) bool {
	const few = 24
	if n.many == nil {
		for _, other := range n.few {
			if string(other) == string(name) {
				return false
			}
		}
		if n.few = append(n.few, name); len(n.few) > few {
			n.many = make(map[string]bool, 2*few)
			for _, other := range n.few {
				n.many[string(other)] = true
			}
		}
		return true
	}
	if n.many[string(name)] {
		return false
	}
	n.many[string(name)] = true
	return true
}
