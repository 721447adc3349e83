// Package desk does what people ask of a server's registrations and join tokens: over HTTP, as users with permissions,
// and on the server's machine, by its files. Whatever is done is in the audit log.
//
//	desk.go    who may, and what refusals look like
//	tokens.go  join tokens
//	hosts.go   registrations, and the audit log
//	rollout.go how far releases may go
package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bakehouse/schema/fault"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
)

// Inventory is what a desk changes; *inventory.DB is one.
type Inventory interface {
	// Token is fs.ErrNotExist if there is none of that ID.
	Token(ctx context.Context, id string) (inventory.Token, error)
	// Tokens are the last created first.
	Tokens(ctx context.Context) ([]inventory.Token, error)
	// CreateToken is durable, as are the others that change something.
	CreateToken(ctx context.Context, t inventory.Token) error
	RevokeToken(ctx context.Context, id, by string, at time.Time) error
	// Host is fs.ErrNotExist if it never was registered, or was forgotten.
	Host(ctx context.Context, name string) (*inventory.Host, error)
	End(ctx context.Context, host string, e inventory.End) error
	Forget(ctx context.Context, host string) error
	audit.Store
}

// Desk is a server's. Release is the one that is served; it may return nil where none is known.
type Desk struct {
	Inventory Inventory
	Audit     *audit.Log
	Release   func() *origin.Release
	Now       func() time.Time
	Rollout   Rollout // may be nil where nobody asks for it
}

// Errors, but for fs.ErrNotExist and those of the inventory.
var (
	ErrDenied  = errors.New("not permitted")
	ErrInvalid = errors.New("invalid")
)

// marked is err, and also as, without a change of its text.
type marked struct {
	err error
	as  error
}

func (m *marked) Error() string   { return m.err.Error() }
func (m *marked) Unwrap() []error { return []error{m.err, m.as} }

func invalid(err error) error {
	if err == nil {
		return nil
	}
	return &marked{err, ErrInvalid}
}

// denied is the refusal for a permission that who has not: for a host, or, if that is empty, for any.
func denied(who audit.Actor, permission, host string) error {
	what := ""
	if host != "" {
		what = " for host " + host
	}
	return fault.Hint(&marked{fmt.Errorf("user %s has no permission %s%s", who.Name, permission, what), ErrDenied},
		"give it in access.cue of the config repo (bakehouse access add --permission %s); it counts once reconcile "+
			"has published it", permission)
}

func event(who audit.Actor, what string, at time.Time) inventory.Event {
	return inventory.Event{At: at, What: what, Who: who.Name, From: who.From}
}
