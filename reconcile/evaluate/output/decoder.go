package output

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// Pending is a source in the repo that is still to be read: that may take longer than an evaluation is given.
type Pending struct {
	File   int       // in Output.Files
	Pos    fleet.Pos // of the source
	Member fleet.Pos // of the member, if the source is an archive
	Source string    // as the plugin gives it
	// Tree is that File stands for all that lies in the folder Repo, or with Archive in the folder Member of that
	// archive. With Folders, the directories among them are the package's own.
	Tree, Archive, Folders bool
	OS                     string // of the host
}

// decoder checks what a plugin yields. Parameters have gone into it, so nothing is taken to be well-formed.
type decoder struct {
	p  *fleet.Plugin
	in fleet.Inputs
	ps fleet.Problems

	pending []Pending
	runs    []runs
	index   int // of the file
}

func (d *decoder) refuse(n *result.Node, format string, args ...any) {
	at := d.place(n)
	if at.IsZero() {
		at = fleet.Pos{File: d.p.Home}
	}
	d.ps = append(d.ps, fleet.Problem{Pos: at, Msg: "plugin " + d.p.Name + ": " + fmt.Sprintf(format, args...)})
}

// place is where n is written: of what a shipped plugin takes from a rule as it is, where the rule has a part of it.
func (d *decoder) place(n *result.Node) fleet.Pos {
	at := n.At()
	if d.p.Shipped && n != nil && strings.HasPrefix(at.File, d.p.Home) {
		for _, part := range n.Parts {
			if in := d.place(part); !in.IsZero() && !strings.HasPrefix(in.File, d.p.Home) {
				return in
			}
		}
	}
	return at
}

// control reports whether s holds characters that mean something to whoever reads units, scripts or terminals.
func control(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s,
		func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' })
}
