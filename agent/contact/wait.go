package contact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema/fault"
)

const (
	firstPause = 15 * time.Second // each further one is twice as long
	mostPause  = 5 * time.Minute
)

// Wait tries until it succeeds, fails in a way that waiting does not help against, or limit is over; 0: it tries once.
// said is told each new reason to wait.
func Wait(ctx context.Context, limit time.Duration, try func() error, said Warn) error {
	began, pause, last := time.Now(), firstPause, ""
	for {
		err := try()
		if err == nil || limit == 0 || ctx.Err() != nil || !passes(err) {
			return err
		}
		left := limit - time.Since(began)
		if left <= 0 {
			return fault.Hint(fmt.Errorf("not registered within %s: %w", limit, err), "%s",
				cmp.Or(fault.HintOf(err), "run the command again once the server knows this host"))
		}
		if err.Error() != last {
			last = err.Error()
			said("%s; trying again for %s", last, left.Round(time.Second))
		}
		// Hosts that were set up in one go do not ask in step.
		t := time.NewTimer(min(pause/2+rand.N(pause), left))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, mostPause)
	}
}

// passes reports whether time may help: the server is not there yet, or does not know the host yet. A wrong password
// stays wrong, and one more guess of it is what locks others out.
func passes(err error) bool {
	var status *wire.StatusError
	switch {
	case errors.Is(err, wire.ErrCertificate):
		return false
	case errors.As(err, &status) && !status.Foreign &&
		(status.Status == http.StatusNotFound || status.Status == http.StatusForbidden):
		return true
	}
	return errors.Is(err, wire.ErrUnreachable)
}

// explained is an error in the words of register that is still the server's answer.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// Explain says what to do about the answers that a server gives to a registration.
// user is empty where a join token was given: then the server's words say what is wrong with that.
func Explain(err error, user, host string) error {
	var status *wire.StatusError
	if !errors.As(err, &status) || status.Foreign {
		return err
	}
	as := func(hint, format string, args ...any) error {
		return fault.Hint(&explained{fmt.Sprintf(format, args...), err}, "%s", hint)
	}
	server := fault.HintOf(err)
	switch status.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
		if user == "" {
			return fault.Hint(fmt.Errorf("join token: %w", err), "%s",
				cmp.Or(server, "bakehouse token create makes another one"))
		}
	}
	switch status.Status {
	case http.StatusUnauthorized:
		return as("check the password; users are listed in access.cue of the fleet's repository and exist once it is "+
			"reconciled", "the server refuses user %s: wrong user or password", user)
	case http.StatusForbidden:
		return as("give the user the permission register for this host in access.cue, and reconcile",
			"user %s may not register host %s", user, host)
	case http.StatusNotFound:
		return as("add it under hosts/ in the fleet's repository and reconcile, or set --host to its name there; to "+
			"wait for that, use --wait 24h", "the server does not know the host %s", host)
	case http.StatusConflict:
		return fault.Hint(err, "if %s is this host, set up again: register with --force, for which the user needs "+
			"the permission revoke, or end that registration with bakehouse host revoke %[1]s; another one that polls "+
			"under that name is locked out then. If it is not, set --host to this host's name in the fleet's "+
			"repository", host)
	case http.StatusTooManyRequests:
		return as(cmp.Or(server, "wait a while and try again"), "the server accepts no more attempts for now")
	}
	return err
}
