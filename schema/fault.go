package schema

import (
	"errors"
	"fmt"
)

// Exit codes of both programs. 2 is ExitChanges only under --detailed-exitcode.
const (
	ExitOK      = 0
	ExitError   = 1
	ExitChanges = 2
	ExitRefused = 3 // something did not verify
)

// Fault is an error with what to do about it, and whether it is a refusal: bytes, signatures or versions that did
// not verify, as against anything that was merely missing or broken.
type Fault struct {
	Err     error
	Hint    string
	Refusal bool
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

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

// HintOf returns the outermost hint on err, if any.
func HintOf(err error) string {
	for f := (*Fault)(nil); errors.As(err, &f); err = f.Err {
		if f.Hint != "" {
			return f.Hint
		}
	}
	return ""
}

// IsRefusal reports whether err, or anything it wraps, is a refusal.
func IsRefusal(err error) bool {
	var altered *AlteredError
	if errors.As(err, &altered) {
		return true
	}
	for f := (*Fault)(nil); errors.As(err, &f); err = f.Err {
		if f.Refusal {
			return true
		}
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
	}
	return ExitError
}
