package engine

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"bakehouse/schema/fleet"
)

// partAt is what a schema says of the value at a path: a field, what a pattern asks of one, or an item of a list.
func partAt(v cue.Value, path []string) cue.Value {
	for _, name := range path {
		if root, to := v.ReferencePath(); len(to.Selectors()) > 0 && v.Err() != nil {
			v = root.LookupPath(to)
		}
		next := v.LookupPath(cue.MakePath(cue.Str(name).Optional()))
		if !next.Exists() {
			next = v.LookupPath(cue.MakePath(cue.AnyString))
		}
		if _, err := strconv.Atoi(name); err == nil && !next.Exists() {
			next = v.LookupPath(cue.MakePath(cue.AnyIndex))
		}
		if v = next; !v.Exists() {
			break
		}
	}
	return v
}

// bound is a limit of a number.
type bound struct {
	value string // as CUE; empty: none
	open  bool   // the value itself is outside
}

// machine are CUE's names for numbers with limits, which it also uses where a type spells them out.
var machine = map[string][2]string{"uint": {"0", ""}, "uint8": {"0", "255"}, "uint16": {"0", "65535"},
	"uint32": {"0", "4294967295"}, "int8": {"-128", "127"}, "int16": {"-32768", "32767"},
	"int32": {"-2147483648", "2147483647"}}

// boundsOf are the limits that a type sets to numbers. Where alternatives set others, the first counts.
func boundsOf(v cue.Value) (low, high bound) {
	e, err := parser.ParseExpr("", fmt.Sprint(v)) // what Value.Expr has of it ends at its default
	if err != nil {
		return low, high
	}
	var named [2]string
	ast.Walk(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if m, ok := machine[n.Name]; ok && named == [2]string{} {
				named = m
			}
		case *ast.UnaryExpr:
			b := bound{cueOf(n.X), n.Op == token.GTR || n.Op == token.LSS}
			if _, err := strconv.ParseFloat(b.value, 64); err != nil {
				return true
			}
			switch n.Op {
			case token.GTR, token.GEQ:
				low = cmp.Or(low, b)
			case token.LSS, token.LEQ:
				high = cmp.Or(high, b)
			}
		}
		return true
	}, nil)
	return cmp.Or(low, bound{value: named[0]}), cmp.Or(high, bound{value: named[1]})
}

// words are limits as a sentence has them, empty if there are none.
func words(low, high bound) string {
	switch {
	case low.value != "" && high.value != "" && !low.open && !high.open:
		return low.value + " to " + high.value
	case low.value != "" && high.value != "":
		return edge(low, "more than ", "at least ") + " and " + edge(high, "less than ", "at most ")
	case low.value != "":
		return edge(low, "more than ", "at least ")
	case high.value != "":
		return edge(high, "less than ", "at most ")
	}
	return ""
}

func edge(b bound, open, closed string) string {
	if b.open {
		return open + b.value
	}
	return closed + b.value
}

const invalidValue = "invalid value "

// withRange says which numbers are allowed, of a number that is not.
func withRange(p fleet.Problem, part cue.Value) fleet.Problem {
	i := strings.LastIndex(p.Msg, invalidValue)
	if i < 0 || !part.Exists() {
		return p
	}
	given := p.Msg[i+len(invalidValue):]
	if _, err := strconv.ParseFloat(given, 64); err != nil {
		return p
	}
	low, high := boundsOf(part)
	if lastOf(p.Path) == "mode" { // as files' modes are written
		given, low.value, high.value = octal(given), octal(low.value), octal(high.value)
	}
	if allowed := words(low, high); allowed != "" {
		p.Msg = p.Msg[:i] + given + " is out of range: want " + allowed
	}
	return p
}

func octal(number string) string {
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return number
	}
	return fmt.Sprintf("0o%03o", n)
}
