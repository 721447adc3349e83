package plan

import (
	"fmt"
	"strings"

	"bakehouse/reconcile/console"
)

// When stranded hosts refuse.
const (
	StrandedNow     = "now"     // what they are given today does not accept the next package
	StrandedPerhaps = "perhaps" // what they are given does, but they may not have installed that yet
	StrandedNext    = "next"    // they install the next package, which accepts none after it
)

// maxStranded bounds how many hosts are named.
const maxStranded = 10

// Stranded are hosts whose updater knows too few of the keys that sign their next package.
type Stranded struct {
	When    string   `json:"when"`
	Accepts string   `json:"accepts"` // such as "2 of old, new"
	Why     string   `json:"why"`     // which of these keys do not sign
	Hint    string   `json:"hint"`
	Hosts   []string `json:"hosts"` // sorted
}

// String says which hosts, and why.
func (s *Stranded) String() string {
	n, what := console.Count(len(s.Hosts), "host"), ""
	switch s.When {
	case StrandedNow:
		what = "would not accept the package: what is installed accepts"
	case StrandedPerhaps:
		what = "would not accept the package without having installed what is published: before that it was"
	default:
		what = "would accept no package after this one, which accepts"
	}
	few, more := s.Hosts, ""
	if len(few) > maxStranded {
		few, more = few[:maxStranded], ", …"
	}
	return fmt.Sprintf("%s %s %s, and %s: %s%s", n, what, s.Accepts, s.Why, strings.Join(few, ", "), more)
}
