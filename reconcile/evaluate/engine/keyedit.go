package engine

import (
	"bytes"
	"fmt"
	"time"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"

	"bakehouse/schema/fleet"
)

// RetireKey adds `retired` to a key in a file of keys/, whose other text stays but for how cue fmt would have it. The
// error says so if the key is not written there as a struct of its own.
func RetireKey(file string, text []byte, key string, at time.Time) ([]byte, error) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")) // as it is when it is evaluated
	f, err := parser.ParseFile(file, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	s := structAt(f.Decls, "keys", key)
	if s == nil {
		return nil, fmt.Errorf("%s does not hold key %s as `keys: %s: {…}`: write `retired: %q` there by hand", file, key,
			key, at.UTC().Format(time.RFC3339))
	}
	s.Elts = append(s.Elts, &ast.Field{Label: ast.NewIdent("retired"),
		Value: ast.NewString(at.UTC().Format(time.RFC3339))})
	return format.Node(f)
}

// structAt finds the struct at a path of labels, nil if there is none.
func structAt(decls []ast.Decl, path ...string) *ast.StructLit {
	for _, d := range decls {
		field, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		label, _, err := ast.LabelName(field.Label)
		s, ok := field.Value.(*ast.StructLit)
		if err != nil || label != path[0] || !ok {
			continue
		}
		if len(path) == 1 {
			return s
		}
		if found := structAt(s.Elts, path[1:]...); found != nil {
			return found
		}
	}
	return nil
}

// Fields are the fields that a file has at its top, as far as they are written with a name of their own, and its
// package; nothing is evaluated.
func Fields(file string, text []byte) (pkg string, at map[string]fleet.Pos, err error) {
	f, err := parse(file, text)
	if err != nil {
		return "", nil, problemsOf(err, cue.Value{})
	}
	at = map[string]fleet.Pos{}
	for _, d := range f.Decls {
		if field, ok := d.(*ast.Field); ok {
			if label, _, err := ast.LabelName(field.Label); err == nil {
				at[label] = posOf(field.Pos())
			}
		}
	}
	return f.PackageName(), at, nil
}
