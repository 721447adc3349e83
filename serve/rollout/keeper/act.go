package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
	"bakehouse/serve/rollout"
)

// Verbs of Act.
const (
	Pause   = "pause"   // hosts install nothing new, whichever release
	Resume  = "resume"  // ends a pause, and the halt of a release
	Halt    = "halt"    // a release goes no further
	Promote = "promote" // opens the gate of a ring, and those before it
)

// Command is what somebody wants of the rollout.
type Command struct {
	Verb    string `json:"verb"`
	Ring    string `json:"ring,omitempty"`    // of Promote
	Release int64  `json:"release,omitempty"` // 0: the newest
	Reason  string `json:"reason,omitempty"`
}

// Result is what came of it.
type Result struct {
	Done    []string       `json:"done"`              // sentences without their full stop
	Delayed []rollout.Ring `json:"delayed,omitempty"` // whose signed delays are not over: only a commit changes them
	Release int64          `json:"release"`
}

// MaxReason is how long a reason may be, in bytes.
const MaxReason = 300

// retries is how often Act tries again what another server was faster with.
const retries = 5

// ErrWrong is what stands against a command.
var ErrWrong = errors.New("it cannot be done")

// wrong is an ErrWrong with a text of its own.
type wrong struct{ error }

func (wrong) Is(err error) bool { return err == ErrWrong }
func (w wrong) Unwrap() error   { return w.error }

// Act does at once what a command says, for all servers of the inventory. What stands against it is an ErrWrong.
func (k *Keeper) Act(ctx context.Context, c Command, by string) (Result, error) {
	if len(c.Reason) > MaxReason {
		return Result{}, wrong{fmt.Errorf("the reason has %d bytes, at most %d", len(c.Reason), MaxReason)}
	}
	k.stepping.Lock()
	defer k.stepping.Unlock()
	for range retries {
		if err := k.read(ctx); err != nil {
			return Result{}, err
		}
		if err := k.step(ctx); err != nil {
			return Result{}, err
		}
		r, err := k.act(ctx, c, rollout.Act{By: by, At: k.now().UTC(), Reason: c.Reason})
		if errors.Is(err, inventory.ErrVerdictMoved) {
			continue
		}
		if err == nil {
			err = k.step(ctx)
		}
		return r, err
	}
	return Result{}, fault.Hint(errors.New("other servers change the rollout all the while"), "try again")
}

func (k *Keeper) act(ctx context.Context, c Command, a rollout.Act) (Result, error) {
	k.mu.RLock()
	pause, known := k.pause, k.known()
	releases := slices.Collect(maps.Keys(known))
	k.mu.RUnlock()
	if len(releases) == 0 && (c.Verb == Halt || c.Verb == Promote || pause.Act == nil && c.Verb == Resume) {
		return Result{}, wrong{fault.Hint(errors.New("there is no verdict on any release"),
			"ask a server: it knows what hosts are given")}
	}
	r := Result{Release: c.Release}
	if r.Release == 0 && len(releases) > 0 {
		r.Release = slices.Max(releases)
	}
	k.mu.RLock()
	v, version := known[r.Release], int64(0)
	if kept := k.kept[r.Release]; kept != nil {
		version = kept.version
	}
	k.mu.RUnlock()
	if v == nil && c.Verb != Pause && (c.Verb != Resume || c.Release != 0) {
		return Result{}, wrong{fault.Hint(fmt.Errorf("there is no verdict on release %d", r.Release),
			"bakehouse rollout status lists those that hosts are given")}
	}
	done := func(format string, args ...any) { r.Done = append(r.Done, fmt.Sprintf(format, args...)) }
	var next *rollout.Verdict
	var err error
	switch c.Verb {
	case Pause:
		if pause.Act != nil {
			return Result{}, wrong{errors.New("the rollout is paused already, " + pause.Act.String())}
		}
		done("paused: hosts of this server install nothing new until bakehouse rollout resume")
		return r, k.setPause(ctx, pause.version, &a)
	case Resume:
		if pause.Act != nil {
			if err := k.setPause(ctx, pause.version, nil); err != nil {
				return Result{}, err
			}
			done("the pause is over")
		}
		if v == nil || v.Halt == nil {
			if pause.Act == nil {
				return Result{}, wrong{fmt.Errorf("the rollout is not paused, and release %d is not halted", r.Release)}
			}
			return r, nil
		}
		if next, err = v.Resume(a); err == nil {
			done("release %d goes on; it was halted: %s", r.Release, v.Halt.Text)
		}
	case Halt:
		if next, err = v.Stop(a); err == nil {
			done("release %d is halted: no further host gets it", r.Release)
		}
	case Promote:
		if next, r.Delayed, err = v.Promote(c.Ring, a, k.now()); err == nil && next != nil {
			done("the gate of ring %s is open for release %d", c.Ring, r.Release)
		}
	default:
		err = fmt.Errorf("unknown verb %.20q", c.Verb)
	}
	if err != nil {
		return Result{}, wrong{err}
	}
	if next == nil {
		return r, nil
	}
	return r, k.decide(ctx, version, next)
}

func (k *Keeper) setPause(ctx context.Context, before int64, act *rollout.Act) error {
	body, err := json.Marshal(paused{Act: act})
	if err != nil {
		return err
	}
	row := inventory.Verdict{Name: pauseName, Version: before + 1, Body: body}
	if err := k.store.Decide(ctx, row); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pause = paused{row.Version, act}
	return nil
}
