package agent

import (
	"slices"
	"time"

	"bakehouse/agent/state"
)

var withholding = []string{codeServerHold, codeSiteBehind, codeExpired, codeUnreachable, codeRejected, codeUnverified}

// withhold brings Withheld up to date with how an update ended. A time in the future was written by a clock that
// has been set back since, and one that is behind what is signed is none.
func (u *update) withhold(out state.Outcome) {
	if !slices.Contains(withholding, out.Code) {
		u.host.Withheld = nil
		return
	}
	now, believed := u.opts.Now().UTC().Truncate(time.Second), true
	w := &state.Withheld{Code: out.Code}
	if old := u.host.Withheld; old != nil {
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
	u.host.Withheld = w
}
