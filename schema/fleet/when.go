package fleet

import (
	"regexp"
	"strings"
)

// When is a condition; what is nil matches everything, and all that is set must match.
type When struct {
	Hosts        *Names
	Labels, Tags map[string]Match
	Folder       *Match // a folder or any below it
	Site         *Match
	Platform     *Match // "os/arch" or "os"
	Named        *Named
	All, Any     []*When // nil: not asked for; empty: matches nothing
	Not          *When
}

// Named asks for conditions by name: one of them holds, or with Not none of them.
type Named struct {
	Conditions []*Condition
	Not        bool
}

// Condition is a condition that the fleet names.
type Condition struct {
	Name string
	When When
	Pos  Pos
}

// Names matches a host by name. An empty list matches nothing.
type Names struct {
	Patterns []Pattern
	Not      bool // matches what no pattern does
}

// Match compares one value. It matches any of Any, or with Not none of them; a value that is absent is none of them.
type Match struct {
	Any []string
	Not bool
}

// Pattern is a host's name, or "~" and a regular expression anchored at the start. (Those of permissions cover whole
// names: schema.MatchHost.)
type Pattern struct {
	Text string
	re   *regexp.Regexp
}

// NewPattern compiles a pattern.
func NewPattern(text string) (Pattern, error) {
	p := Pattern{Text: text}
	if expr, ok := strings.CutPrefix(text, "~"); ok {
		re, err := regexp.Compile("^(?:" + expr + ")")
		if err != nil {
			return p, err
		}
		p.re = re
	}
	return p, nil
}

// Match reports whether a host of that name is meant.
func (p Pattern) Match(host string) bool {
	if p.re != nil {
		return p.re.MatchString(host)
	}
	return p.Text == host
}

// IsRegexp reports whether p is a regular expression rather than a name.
func (p Pattern) IsRegexp() bool { return p.re != nil }
