package fleet

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Value is a JSON value as written, with its place and those of its parts. Defaults are not filled in.
type Value struct {
	JSON   json.RawMessage // canonical: fields by name, no space, so equal values have equal bytes
	Pos    Pos
	Items  []Value // of a list
	Fields []Field // of a struct, by name
}

// Field is a field of a struct.
type Field struct {
	Name string
	Value
}

// Text is a string value itself, and empty for values of other types.
func (v Value) Text() string {
	var s string
	_ = json.Unmarshal(v.JSON, &s)
	return s
}

// IsText reports whether v is a string.
func (v Value) IsText() bool { return len(v.JSON) > 0 && v.JSON[0] == '"' }

// IsList reports whether v is a list.
func (v Value) IsList() bool { return len(v.JSON) > 0 && v.JSON[0] == '[' }

// IsStruct reports whether v is a struct.
func (v Value) IsStruct() bool { return len(v.JSON) > 0 && v.JSON[0] == '{' }

// IsBool reports whether v is true or false.
func (v Value) IsBool() bool { return string(v.JSON) == "true" || string(v.JSON) == "false" }

// Has reports whether v or a part of it is at that place.
func (v Value) Has(at Pos) bool {
	return v.Pos == at || slices.ContainsFunc(v.Items, func(part Value) bool { return part.Has(at) }) ||
		slices.ContainsFunc(v.Fields, func(part Field) bool { return part.Has(at) })
}

// IsNull reports whether v is null: of a parameter that adds up by key, such a field is left out.
func (v Value) IsNull() bool { return string(v.JSON) == "null" }

// Keep is a struct of the fields for which keep holds, at the place of v.
func (v Value) Keep(keep func(Field) bool) Value {
	return StructOf(v.Pos, slices.DeleteFunc(slices.Clone(v.Fields), func(f Field) bool { return !keep(f) }))
}

// StructOf is a struct of fields, which it sorts by name.
func StructOf(at Pos, fields []Field) Value {
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	v := Value{JSON: json.RawMessage{'{'}, Pos: at, Fields: fields}
	for i, f := range fields {
		if i > 0 {
			v.JSON = append(v.JSON, ',')
		}
		v.JSON = append(append(append(v.JSON, Quote(f.Name)...), ':'), f.JSON...)
	}
	v.JSON = append(v.JSON, '}')
	return v
}

// Quote is s as JSON, without the escapes that encoding/json adds for HTML.
func Quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Concat is a list of the items of all lists, at the place of the first.
func Concat(lists []Value) Value {
	all := Value{JSON: json.RawMessage{'['}, Pos: lists[0].Pos}
	for _, v := range lists {
		for _, item := range v.Items {
			if len(all.Items) > 0 {
				all.JSON = append(all.JSON, ',')
			}
			all.JSON, all.Items = append(all.JSON, item.JSON...), append(all.Items, item)
		}
	}
	all.JSON = append(all.JSON, ']')
	return all
}
