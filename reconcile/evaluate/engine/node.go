package engine

import (
	"errors"
	"fmt"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/token"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// toNode reads v, which belongs to a directory that evaluated without errors, unless it has more than most parts: CUE
// shares what it refers to twice, so a small file can stand for an exponentially large value.
func toNode(v cue.Value, most int) (*result.Node, error) {
	left := most
	n, err := nodeOf(v, &left)
	if left < 0 {
		err = fmt.Errorf("larger than %d values", most)
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

var errTooLarge = errors.New("too large")

var scalars = map[cue.Kind]result.Kind{cue.NullKind: result.Null, cue.BoolKind: result.Bool, cue.IntKind: result.Int,
	cue.FloatKind: result.Float}

func nodeOf(v cue.Value, left *int) (*result.Node, error) {
	if *left--; *left < 0 {
		return nil, errTooLarge
	}
	v, _ = v.Default()
	n := &result.Node{Pos: posOf(repoPos(v))}
	var err error
	switch kind := v.Kind(); kind {
	case cue.StringKind:
		n.Kind = result.String
		n.Text, err = v.String()
	case cue.BytesKind:
		n.Kind = result.Bytes
		var b []byte
		b, err = v.Bytes()
		n.Text = string(b)
	case cue.NullKind, cue.BoolKind, cue.IntKind, cue.FloatKind:
		n.Kind = scalars[kind]
		var b []byte
		b, err = v.MarshalJSON()
		n.Text = string(b)
	case cue.ListKind:
		n.Kind = result.List
		for items, _ := v.List(); err == nil && items.Next(); {
			var item *result.Node
			item, err = nodeOf(items.Value(), left)
			n.Parts = append(n.Parts, item)
		}
	case cue.StructKind:
		n.Kind = result.Struct
		var it *cue.Iterator
		it, err = v.Fields()
		for err == nil && it.Next() {
			var field *result.Node
			field, err = nodeOf(it.Value(), left)
			n.Names = append(n.Names, it.Selector().Unquoted())
			n.Parts = append(n.Parts, field)
		}
	default:
		err = fmt.Errorf("%v is not a concrete value", v)
	}
	return n, err
}

// repoPos is the place of v that is in the repo, rather than in the schema.
func repoPos(v cue.Value) token.Pos {
	at := v.Pos()
	if at.IsValid() && !strings.HasPrefix(at.Filename(), schemaPrefix) {
		return at
	}
	_, parts := v.Expr()
	for _, part := range parts {
		if p := part.Pos(); p.IsValid() && !strings.HasPrefix(p.Filename(), schemaPrefix) {
			return p
		}
	}
	return token.NoPos
}

func posOf(p token.Pos) fleet.Pos {
	if !p.IsValid() {
		return fleet.Pos{}
	}
	q := p.Position()
	return fleet.Pos{File: q.Filename, Line: q.Line, Col: q.Column}
}
