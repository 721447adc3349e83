// Package fault is how both programs fail: an error, what to do about it, and the exit code of its class. Whoever finds
// a fault gives the hint and says whether it is a refusal; the entry points print error and hint, and exit with the
// code.
package fault

import (
	"errors"
	"fmt"
	"slices"
)

// Exit codes of both programs. 2 is ExitChanges only under --detailed-exitcode, and 4 of `bakehouse monitor` alone.
const (
	ExitOK      = 0
	ExitError   = 1
	ExitChanges = 2
	ExitRefused = 3 // something did not verify

	ExitUnjudged = 4 // it cannot be told whether something verifies

	ExitInterrupted = 130 // as of a program that SIGINT ends
)

// ErrUnjudged is wrapped by what a command returns if it cannot tell, as another version of the program could.
var ErrUnjudged = errors.New("cannot judge")

// ErrInterrupted is wrapped by what a command returns whose prompt was given up, as by Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// ErrChanges is what a command returns under --detailed-exitcode to say that changes are pending. It is no failure and
// is not reported: only the exit code tells.
var ErrChanges = errors.New("changes pending")

// Fault is an error with what to do about it, and whether it is a refusal: bytes, signatures or versions that did
// not verify, as against anything that was merely missing or broken.
type Fault struct {
	Err     error
	Hint    string
	Refusal bool
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// Refused makes a Fault one of the errors that IsRefusal asks; any type with this method is one.
func (f *Fault) Refused() bool { return f.Refusal }

// Hint adds to err what to do next.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Fault{Err: err, Hint: fmt.Sprintf(format, args...)}
}

// Refuse marks err as a refusal, with what to do next.
func Refuse(err error, format string, args ...any) error {
	return &Fault{Err: err, Hint: fmt.Sprintf(format, args...), Refusal: true}
}

// HintOf returns the outermost hint on err, if any; of joined errors the first one's.
func HintOf(err error) (hint string) {
	anyIn(err, func(err error) bool {
		f, ok := err.(*Fault)
		if ok {
			hint = f.Hint
		}
		return hint != ""
	})
	return hint
}

// IsRefusal reports whether err, or anything it wraps, is a refusal.
func IsRefusal(err error) bool {
	return anyIn(err, func(err error) bool {
		r, ok := err.(interface{ Refused() bool })
		return ok && r.Refused()
	})
}

// anyIn reports whether is holds for err or anything it wraps. errors.As alone stops at the first Fault of a joined
// error, whose siblings may be refusals.
func anyIn(err error, is func(error) bool) bool {
	if err == nil || is(err) {
		return err != nil
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return anyIn(err.Unwrap(), is)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(err.Unwrap(), func(err error) bool { return anyIn(err, is) })
	}
	return false
}

// ExitCode is the exit code for err.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case IsRefusal(err):
		return ExitRefused
	case errors.Is(err, ErrInterrupted):
		return ExitInterrupted
	case errors.Is(err, ErrChanges):
		return ExitChanges
	case errors.Is(err, ErrUnjudged):
		return ExitUnjudged
	}
	return ExitError
}
