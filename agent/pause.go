package agent

import (
	"errors"
	"fmt"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

// Pause keeps this host from installing and repairing anything until then; zero: until Resume. It goes on checking and
// reporting, and reports this too. A pause replaces the one before.
func (a *Agent) Pause(until time.Time, reason string) (*schema.Pause, error) {
	now := a.opts.Now().UTC().Truncate(time.Second)
	if !until.IsZero() {
		if until = until.UTC().Truncate(time.Second); !until.After(now) {
			return nil, fault.Hint(fmt.Errorf("%s is not in the future", until.Format(time.RFC3339)),
				"it is %s now; set --until to a later time or a duration such as 2h", now.Format(time.RFC3339))
		}
	}
	p := &schema.Pause{Since: now, Until: until, Reason: plain.Name(reason)}
	_, err := a.setPause("pause", p)
	return p, err
}

// Resume ends a pause; it returns what that was.
func (a *Agent) Resume() (*schema.Pause, error) {
	was, err := a.setPause("resume", nil)
	if err == nil && (was == nil || was.Ended(a.opts.Now())) {
		err = fault.Hint(errors.New("this host is not paused"), "there is nothing to end")
	}
	return was, err
}

// setPause replaces the pause of before.
func (a *Agent) setPause(verb string, p *schema.Pause) (was *schema.Pause, err error) {
	end, err := a.begin(verb)
	if err != nil {
		return nil, err
	}
	defer end()
	h, err := a.files.Load()
	if err != nil {
		return nil, err
	}
	was, h.Paused = h.Paused, p
	if err := h.Save(); err != nil {
		return nil, err
	}
	a.log.Info(verb, "paused", p)
	return was, nil
}
