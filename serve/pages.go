package serve

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/limit"
	"bakehouse/serve/origin"
	"bakehouse/serve/rollout/keeper"
	"bakehouse/serve/status"
	"bakehouse/serve/view"
	"bakehouse/serve/view/build"
)

// sessionsName is the row of the key that sessions are sealed with: servers of one inventory agree on it as on a verdict.
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

type pageUsers struct {
	releases *origin.Follower
	gate     *limit.Gate
	audit    *audit.Log
}

// Check implements status.Users.
func (p pageUsers) Check(ctx context.Context, address, name, password string) (schema.User, bool, time.Duration) {
	rel, _ := p.releases.Now()
	u, ok, wait := p.gate.Check(ctx, rel.Access, address, name, password)
	if !ok && wait == 0 {
		failed(ctx, p.audit, rel.Access, address, name)
	}
	return u, ok, wait
}

// SignedIn implements status.Users.
func (p pageUsers) SignedIn(ctx context.Context, address, name string) {
	p.audit.Record(ctx, inventory.Event{What: audit.SignedIn, Who: name, From: address})
}

// failed notes a wrong password. What was given as a name and is none may be the password.
func failed(ctx context.Context, l *audit.Log, access *schema.Access, address, name string) {
	if _, known := access.Users[name]; !known {
		name = "unknown user"
	}
	l.Fail(ctx, audit.Failed, inventory.Event{Who: name, From: address, Detail: "wrong user or password"})
}

// User implements status.Users.
func (p pageUsers) User(name string) (schema.User, bool) {
	rel, _ := p.releases.Now()
	u, ok := rel.Access.Users[name]
	return u, ok
}

// pageData answers with what exists for a user.
type pageData struct{ *build.Source }

// Fleet implements status.Data.
func (p pageData) Fleet() string {
	rel, _ := p.Source.Release()
	return rel.Policy.Fleet
}

// Overview implements status.Data.
func (p pageData) Overview(ctx context.Context, u schema.User) (*view.Overview, error) {
	return p.Source.Overview(ctx, build.ViewerOf(u))
}

// Hosts implements status.Data.
func (p pageData) Hosts(ctx context.Context, u schema.User, values url.Values) (*view.HostsPage, error) {
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
func (p pageData) Host(ctx context.Context, u schema.User, name string) (*view.Host, error) {
	return p.Source.Host(ctx, build.ViewerOf(u), name)
}

// Releases implements status.Data.
func (p pageData) Releases(ctx context.Context, u schema.User, _ url.Values) (*view.Releases, error) {
	return p.Source.Releases(ctx, build.ViewerOf(u))
}

// Release implements status.Data.
func (p pageData) Release(ctx context.Context, u schema.User, number int64) (*view.Release, error) {
	return p.OneRelease(ctx, build.ViewerOf(u), number)
}

// Package implements status.Data.
func (p pageData) Package(ctx context.Context, u schema.User, hash string) (*view.Package, error) {
	return p.Source.Package(ctx, build.ViewerOf(u), hash)
}
