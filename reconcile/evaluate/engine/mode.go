package engine

import (
	"fmt"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"bakehouse/schema/fleet"
)

// decimalModes finds modes of files that are written in decimal, such as 440, which is 0o670 and lets the group write:
// what was meant is what chmod takes for it. Every mode has another way to be written.
func decimalModes(f *ast.File) (ps fleet.Problems) {
	ast.Walk(f, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok {
			return true
		}
		name, _, err := ast.LabelName(field.Label)
		lit, isLit := field.Value.(*ast.BasicLit)
		if err != nil || name != "mode" || !isLit || lit.Kind != token.INT || len(lit.Value) < 3 {
			return true
		}
		value, err := strconv.ParseUint(lit.Value, 10, 12)
		if err != nil || lit.Value[0] == '0' {
			return true
		}
		p := fleet.Problem{Pos: posOf(lit.Pos()),
			Msg:  fmt.Sprintf("mode: %s is written in decimal, and is %O", lit.Value, value),
			Hint: fmt.Sprintf("modes are octal: write %O", value)}
		if !strings.ContainsAny(lit.Value, "89") {
			p.Hint = fmt.Sprintf("modes are octal, as chmod has them: write 0o%s, or %O if that is meant",
				lit.Value, value)
		}
		ps = append(ps, p)
		return true
	}, nil)
	return ps
}
