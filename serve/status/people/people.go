// Package people joins the pages (package status) with what a server has: the users of the release that it serves, a
// key of the sessions that all servers of an inventory agree on, and the answers of package view/build.
package people

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/rollout/keeper"
	"bakehouse/serve/status"
	"bakehouse/serve/view"
	"bakehouse/serve/view/build"
)

// Check compares a password with that of a user of the release; with a wait, nothing was compared.
type Check func(ctx context.Context, address, name, password string) (u schema.User, ok bool, wait time.Duration)

// Pages are those of a server that answers from source.
func Pages(ctx context.Context, source *build.Source, check Check, shared keeper.Store, events *audit.Log,
	log *slog.Logger) (*status.Pages, error) {
	sealed, err := sessions(ctx, shared)
	if err != nil {
		return nil, err
	}
	return status.New(status.Options{Users: users{check, source, events}, Data: answers{source}, Sessions: sealed,
		Log: log}), nil
}

// sessionsName is the row of the key that seals sessions. Servers of one inventory agree on it as on a verdict.
const sessionsName = "sessions"

// sessions are those that all servers of an inventory accept. A session is of use only with what the signed access
// target says, so that the inventory alone lets nobody in.
func sessions(ctx context.Context, i keeper.Store) (*status.Sealed, error) {
	for {
		kept, err := i.Verdicts(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range kept {
			if v.Name == sessionsName {
				var key []byte
				if err := json.Unmarshal(v.Body, &key); err != nil || len(key) != 32 {
					return nil, errors.New("the key of the sessions in the inventory is broken")
				}
				return status.NewSealed(key), nil
			}
		}
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		body, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		err = i.Decide(ctx, inventory.Verdict{Name: sessionsName, Version: 1, Body: body})
		if err != nil && !errors.Is(err, inventory.ErrVerdictMoved) {
			return nil, err
		}
	}
}

// users are those of the release.
type users struct {
	check  Check
	source *build.Source
	audit  *audit.Log
}

// Check implements status.Users.
func (u users) Check(ctx context.Context, address, name, password string) (schema.User, bool, time.Duration) {
	return u.check(ctx, address, name, password)
}

// SignedIn implements status.Users.
func (u users) SignedIn(ctx context.Context, address, name string) {
	u.audit.Record(ctx, inventory.Event{What: audit.SignedIn, Who: name, From: address})
}

// User implements status.Users.
func (u users) User(name string) (schema.User, bool) {
	rel, _ := u.source.Release()
	user, ok := rel.Access.Users[name]
	return user, ok
}

// answers answers with what exists for a user.
type answers struct{ *build.Source }

// Fleet implements status.Data.
func (p answers) Fleet() string {
	rel, _ := p.Source.Release()
	return rel.Policy.Fleet
}

// Overview implements status.Data.
func (p answers) Overview(ctx context.Context, u schema.User) (*view.Overview, error) {
	return p.Source.Overview(ctx, build.ViewerOf(u))
}

// Hosts implements status.Data.
func (p answers) Hosts(ctx context.Context, u schema.User, values url.Values) (*view.HostsPage, error) {
	q, err := build.Decode(values)
	var page *view.HostsPage
	if err == nil {
		page, err = p.Page(ctx, build.ViewerOf(u), q)
	}
	if bad := (*build.BadQuery)(nil); errors.As(err, &bad) {
		err = fmt.Errorf("%w: %w", status.ErrQuery, bad)
	}
	return page, err
}

// Host implements status.Data.
func (p answers) Host(ctx context.Context, u schema.User, name string) (*view.Host, error) {
	return p.Source.Host(ctx, build.ViewerOf(u), name)
}

// Releases implements status.Data.
func (p answers) Releases(ctx context.Context, u schema.User, _ url.Values) (*view.Releases, error) {
	return p.Source.Releases(ctx, build.ViewerOf(u))
}

// Release implements status.Data.
func (p answers) Release(ctx context.Context, u schema.User, number int64) (*view.Release, error) {
	return p.OneRelease(ctx, build.ViewerOf(u), number)
}

// Package implements status.Data.
func (p answers) Package(ctx context.Context, u schema.User, hash string) (*view.Package, error) {
	return p.Source.Package(ctx, build.ViewerOf(u), hash)
}
