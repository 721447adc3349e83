package agent

import (
	"fmt"
	"slices"
	"time"

	"bakehouse/schema"
)

// Withheld remembers since when this host has been kept from its fleet's releases by something that nobody signed. What
// is signed, such as the master switch, the selection, a ring's delay or a revocation, is the operator's decision and no
// such thing, however long it stands; nor is what fails on the host itself, which it reports as that.
//
// Policy's maxHold is how long that may last. After it the host is critical: it says so in its reports, its status and
// the exit code of that. It installs nothing for it: whoever can keep a host from the server could else choose when.
type Withheld struct {
	Since time.Time       `json:"since,omitzero"` // zero: the clock was behind what is signed
	Code  string          `json:"code"`           // of the last outcome
	Limit schema.Duration `json:"limit,omitempty"`
}

var withholding = []string{codeServerHold, codeSiteBehind, codeExpired, codeUnreachable, codeRejected, codeUnverified}

// critical says that w has lasted too long at the time now; empty if it has not.
func (w *Withheld) critical(now time.Time) string {
	if w == nil || w.Limit <= 0 || w.Since.IsZero() || now.Sub(w.Since) <= time.Duration(w.Limit) {
		return ""
	}
	return fmt.Sprintf("held back since %s (%s), longer than the %s that the fleet allows", w.Since.UTC().Format(time.RFC3339), w.Code, w.Limit)
}

// withhold brings state.Withheld up to date with how an update ended. A time that lies ahead was written by a clock that
// has been set back since, and one that is behind what is signed is none.
func (u *update) withhold(out Outcome) {
	if !slices.Contains(withholding, out.Code) {
		u.state.Withheld = nil
		return
	}
	now, believed := u.opts.Now().UTC().Truncate(time.Second), true
	w := &Withheld{Code: out.Code}
	if old := u.state.Withheld; old != nil {
		w.Since, w.Limit = old.Since, old.Limit
	}
	if u.trust != nil {
		if p := u.trust.Policy(); p != nil {
			w.Limit, believed = p.MaxHold, !now.Before(p.Issued)
		}
	}
	if believed && (w.Since.IsZero() || w.Since.After(now)) {
		w.Since = now
	}
	u.state.Withheld = w
}
