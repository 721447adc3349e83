package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// About is the signed target "about", which only servers may read: what people ask of a release and no host needs. It
// is of the release whose number the target "release" has.
type About struct {
	Schema  int    `json:"schema"`
	Subject string `json:"subject"` // of the commit; at most MaxAboutText bytes, like each text here
	Author  string `json:"author"`
	// SignedBy is the key that the commit's signature names: an SSH key's fingerprint or an OpenPGP key's id. It is
	// what the commit claims; who demands signatures verifies them. Empty: the commit is not signed.
	SignedBy string         `json:"signedBy,omitempty"`
	Keys     []AboutKey     `json:"keys"`
	Plan     AboutPlan      `json:"plan"`
	Findings []AboutFinding `json:"findings"`
	Left     int            `json:"left,omitempty"` // keys and findings beyond what there is room for
}

// AboutKey is a key of the fleet.
type AboutKey struct {
	Name    string    `json:"name"`
	Uses    []string  `json:"uses"`
	Expires time.Time `json:"expires,omitzero"`
	Retired time.Time `json:"retired,omitzero"`
}

// AboutPlan counts the hosts of the release, and those that it changes.
type AboutPlan struct {
	Hosts      int `json:"hosts"`
	Added      int `json:"added"`
	Removed    int `json:"removed"`
	Package    int `json:"package"`    // with other bytes
	Attributes int `json:"attributes"` // with other attributes only
}

// AboutFinding is what `bakehouse check` says of the commit, at the time of the release.
type AboutFinding struct {
	Level   string `json:"level"`
	Message string `json:"message"`
	At      string `json:"at,omitempty"` // file:line:col
}

// Fit clips texts and leaves out findings, then keys, from the end, until a keeps to MaxAbout.
func (a *About) Fit() error {
	clip := func(s *string) { *s = clip(*s, MaxAboutText) }
	clip(&a.Subject)
	clip(&a.Author)
	clip(&a.SignedBy)
	for i := range a.Findings {
		clip(&a.Findings[i].Message)
		clip(&a.Findings[i].At)
	}
	for {
		b, err := json.Marshal(a)
		switch n, k := len(a.Findings), len(a.Keys); {
		case err != nil || len(b) <= MaxAbout:
			return err
		case n > 0:
			drop := max(1, n/8)
			a.Findings, a.Left = a.Findings[:n-drop], a.Left+drop
		case k > 0:
			drop := max(1, k/8)
			a.Keys, a.Left = a.Keys[:k-drop], a.Left+drop
		default:
			return fmt.Errorf("target about: %d bytes, more than %d", len(b), MaxAbout)
		}
	}
}

// clip cuts s to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	const dots = "..."
	return strings.ToValidUTF8(s[:n-len(dots)], "") + dots
}

const (
	AboutSchema  = 1
	MaxAbout     = 64 << 10 // bytes, encoded
	MaxAboutText = 300      // bytes of each text in it
)
