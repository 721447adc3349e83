package machine

import "errors"

// TouchedError marks a failure that may have left the system between two packages.
type TouchedError struct{ Err error }

func (e *TouchedError) Error() string { return e.Err.Error() }
func (e *TouchedError) Unwrap() error { return e.Err }

// Touched reports whether a failed installation may have left the system between two packages. If not, what was
// installed before is there unchanged.
func Touched(err error) bool {
	var t *TouchedError
	return errors.As(err, &t)
}

// ReleaseError marks a failure that speaks against the package: its own script failed. All else may be the host's.
type ReleaseError struct{ Err error }

func (e *ReleaseError) Error() string { return e.Err.Error() }
func (e *ReleaseError) Unwrap() error { return e.Err }

// OfRelease reports whether a failed installation speaks against the package. If not, it may well succeed once the host
// is in another condition.
func OfRelease(err error) bool {
	var r *ReleaseError
	return errors.As(err, &r)
}

// NotReady is the exit status by which a package's own script says that the host is not ready for it (sysexits.h:
// EX_TEMPFAIL), which is no failure of the release.
const NotReady = 75
