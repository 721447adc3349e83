package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"time"

	"bakehouse/agent/pace"
	"bakehouse/agent/state"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
)

const (
	unregisteredPause = time.Minute
	firstRetry        = 30 * time.Second // after an update that reached no server; each further pause is twice as long
)

// RunOptions vary the loop.
type RunOptions struct {
	// Update does one update in its own way; nil: Run does, and asks the server in this process.
	Update func(context.Context) error
	// Detach does an update that changes something in its own way, such as in a unit of its own; nil: in this process.
	Detach func(context.Context) error
	// Note reports what is wrong, a line each: the journal.
	Note func(string)
	// Ended reports how each update in this process ended; nil: not reported.
	Ended func(Result)
	// Check has the loop update now instead of at the interval's end; nil: nothing does.
	Check <-chan os.Signal
	// Replaced reports, after an update, that this program's file is another now; the loop then ends. nil: never.
	Replaced func() bool
}

// ErrReplaced ends Run when the program that runs was replaced: the caller starts the new one.
var ErrReplaced = errors.New("this program was replaced by an update")

// Run updates at each interval until ctx ends. The settings are read again each time, since an update changes them.
// What fails is noted and tried again at the next interval: nothing stops the loop. Where no server was reached, as
// before the network is up, it is tried again soon, after pauses that grow to the interval.
func (a *Agent) Run(ctx context.Context, o RunOptions) error {
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Update == nil {
		o.Update = func(ctx context.Context) error { return a.updateOrDetach(ctx, o) }
	}
	said := ""
	note := func(s string) {
		// A host that waits for its registration says so once, not every minute.
		if s != said {
			o.Note(s)
		}
		said = s
	}
	wait := func(d time.Duration) error { return pace.Wait(ctx, d, o.Check) }
	retry := time.Duration(0)
	a.publish() // none is left by what ran before the boot
	for {
		pause := unregisteredPause
		s, err := a.files.Load()
		switch {
		case err != nil:
			note("error: " + err.Error())
		case s.Registration == nil:
			note("this host is not registered: " + fault.HintOf(state.ErrUnregistered) + "; the next look is in " +
				pause.String())
		default:
			pause = a.pauseBefore(s)
			if retry > 0 {
				pause = pace.Jitter(min(retry, s.Interval()))
			}
		}
		if err := wait(pause); err != nil {
			return nil
		}
		if err != nil || s.Registration == nil {
			continue
		}
		began := a.opts.Now()
		if err := o.Update(ctx); err != nil && ctx.Err() == nil {
			note("error: " + err.Error())
		} else {
			said = ""
		}
		if ctx.Err() != nil {
			return nil // even if the program was replaced: it is being stopped, most likely for that
		}
		if o.Replaced != nil && o.Replaced() {
			return ErrReplaced
		}
		if s, err := a.files.Load(); err == nil && s.LastCheck.Before(began.Truncate(time.Second)) {
			retry = min(max(2*retry, firstRetry, time.Duration(s.Asked)*time.Second), s.Interval())
		} else {
			retry = 0
		}
	}
}

// updateOrDetach asks the server in this process; what changes the host is not done here if there is another way.
func (a *Agent) updateOrDetach(ctx context.Context, o RunOptions) error {
	defer debug.FreeOSMemory() // it sleeps for an hour now
	r, err := a.Update(ctx, UpdateOptions{Poll: o.Detach != nil})
	if errors.Is(err, errMore) {
		return o.Detach(ctx)
	}
	if o.Ended != nil {
		o.Ended(r)
	}
	return err
}

// pauseBefore is how long to wait for the next check. A host that waits for a maintenance window checks when it opens.
func (a *Agent) pauseBefore(h *state.Host) time.Duration {
	now := a.opts.Now()
	due := pace.DueIn(now, h.LastCheck, h.Pause())
	if _, opens := h.Closed(now); h.Last.Code == outcome.CodeWindow && !opens.IsZero() {
		if left := opens.Sub(now); left < due {
			return left + rand.N(min(h.Interval()/10, time.Minute)+1)
		}
	}
	return due
}
