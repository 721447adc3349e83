package hosts

import (
	"strings"
	"time"

	"bakehouse/schema"
)

// Row is a host as lists show it. What the host claims is bounded and cleaned already, and labelled so.
type Row struct {
	Name     string          `json:"name"`
	State    State           `json:"state"`
	Code     string          `json:"code"`           // which case of the state: an outcome's code or a Code… constant
	Why      string          `json:"why"`            // one sentence, without its full stop
	Next     string          `json:"next,omitempty"` // what comes next by itself, likewise
	Since    time.Time       `json:"since,omitzero"` // in this state; zero: not known
	Turn     time.Time       `json:"turn,omitzero"`  // when a host that waits may install, if that is signed
	Marks    []Mark          `json:"marks,omitempty"`
	Site     string          `json:"site,omitempty"`
	Ring     string          `json:"ring,omitempty"` // empty: none
	Platform schema.Platform `json:"platform"`       // as it registered or reports
	Program  string          `json:"program,omitempty"`

	Target        schema.Digest `json:"target"`        // the newest package that signed metadata give it
	TargetRelease int64         `json:"targetRelease"` // with which it came
	Downloaded    schema.Digest `json:"downloaded"`    // claimed
	Installed     schema.Digest `json:"installed"`     // claimed
	Release       int64         `json:"release"`       // installed, claimed; 0: nothing of the fleet's

	Checked  time.Time `json:"checked,omitzero"`   // last poll, by the server's clock; zero: never
	Updated  time.Time `json:"updated,omitzero"`   // last installation, claimed
	Error    string    `json:"error,omitempty"`    // claimed
	Critical bool      `json:"critical,omitempty"` // kept from releases for longer than signed policy allows, claimed
}

// Query is what a list of hosts is asked for: several values of a field are OR, several fields AND.
type Query struct {
	Q        string   `json:"q,omitempty"` // words, all of which match name, hash or error
	State    []string `json:"state,omitempty"`
	Ring     []string `json:"ring,omitempty"` // "none": in no ring
	Site     []string `json:"site,omitempty"`
	Release  []string `json:"release,omitempty"` // installed; "none": nothing of the fleet's
	Platform []string `json:"platform,omitempty"`
	Package  []string `json:"package,omitempty"` // starts of the target's digest, 4 hex digits or more
	Code     []string `json:"code,omitempty"`
	Agent    []string `json:"agent,omitempty"`  // version of the host program
	Plugin   []string `json:"plugin,omitempty"` // of the installed package
	File     []string `json:"file,omitempty"`   // PATH or PATH@sha256:HEX of the installed package
	Sort     string   `json:"sort,omitempty"`   // a Sort… constant, "-" before it reverses; empty: state, then name
	After    string   `json:"after,omitempty"`  // where the page begins; opaque
	Before   string   `json:"before,omitempty"` // where it ends
}

// MaxExcerpt is how much of an error lists show, in bytes.
const MaxExcerpt = 200

// Excerpt is the beginning of what a host claims, without its end of a sentence.
func Excerpt(s string) string {
	s = strings.TrimRight(strings.TrimSpace(s), ".")
	if len(s) > MaxExcerpt {
		s = strings.ToValidUTF8(s[:MaxExcerpt-3], "") + "..."
	}
	return s
}
