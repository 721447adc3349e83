package trust

import (
	"errors"
	"fmt"
	"time"

	"bakehouse/schema/fault"
	"bakehouse/schema/plain"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// What goes wrong is of one of three classes, which callers tell apart:
//
//	refusal      fault.IsRefusal: bytes, signatures or versions did not verify. Somebody altered something.
//	expired      *ExpiredError: everything verified, but too long ago. Nothing may be installed on its word.
//	unreachable  ErrUnreachable: the source failed, or lacks what signed metadata names. Try again.

// RoleTimestamp is the Role of errors about timestamps.
const RoleTimestamp = metadata.TIMESTAMP

// ErrUnreachable is wrapped by errors of the source itself.
var ErrUnreachable = errors.New("metadata source unreachable")

// ErrNoTarget is wrapped when the verified metadata name no such target: the fleet has no package for the host.
var ErrNoTarget = errors.New("no such target")

// ErrNotLoaded is returned before the first Refresh has succeeded.
var ErrNotLoaded = errors.New("no verified metadata yet")

// ExpiredError says that verified metadata are past their time. Now is the time believed, which is never earlier than
// the newest verified policy.
type ExpiredError struct {
	Role         string
	Expires, Now time.Time
}

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("%s metadata expired at %s (the clock here says %s)", e.Role,
		e.Expires.UTC().Format(time.RFC3339), e.Now.UTC().Format(time.RFC3339))
}

// RollbackError says that a role's version is lower than one verified before. For the role "timestamp" it may only mean
// that a site lags behind; it is a refusal in any case, for nothing of it is used.
type RollbackError struct {
	Role      string
	Got, Seen int64
}

func (e *RollbackError) Error() string {
	return fmt.Sprintf("%s metadata version %d is older than version %d, which was verified before", e.Role, e.Got, e.Seen)
}

func expired(role string, expires, now time.Time) error {
	return fault.Hint(&ExpiredError{Role: role, Expires: expires, Now: now},
		"run bakehouse reconcile, or check this host's clock; nothing new is installed until fresh metadata arrive")
}

func rollback(role string, got, seen int64) error {
	return fault.Refuse(&RollbackError{Role: role, Got: got, Seen: seen},
		"the server serves an older state than before; "+
			"if its store was restored from a backup: bakehouse reconcile recover --above N, with N at least %d", seen)
}

func refuse(format string, args ...any) error {
	return fault.Refuse(plain.Error(fmt.Errorf(format, args...), plain.MaxError),
		"the server, or something on the network, altered the metadata; they were discarded")
}

// unreachable keeps err and its hint, and adds the class.
func unreachable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnreachable, err)
}
