package serve

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/limit"
	"bakehouse/serve/origin"
	"bakehouse/serve/status"
	"bakehouse/serve/view"
)

// newPages makes the pages of what is served; users are those of its release.
func newPages(releases *origin.Follower, gate *limit.Gate, events *audit.Log, log *slog.Logger) *status.Pages {
	return status.New(status.Options{Users: pageUsers{releases, gate, events},
		Data: pageData{loading{}, releases}, Log: log})
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

// pageData answers with what there is of the release until the states of hosts are known.
type pageData struct {
	status.Data
	releases *origin.Follower
}

// Fleet implements status.Data.
func (p pageData) Fleet() string {
	rel, _ := p.releases.Now()
	return rel.Policy.Fleet
}

// loading has no answer yet.
type loading struct{ status.Data }

// Overview implements status.Data.
func (loading) Overview(context.Context, schema.User) (*view.Overview, error) {
	return nil, status.ErrLoading
}

// Hosts implements status.Data.
func (loading) Hosts(context.Context, schema.User, url.Values) (*view.HostsPage, error) {
	return nil, status.ErrLoading
}

// Host implements status.Data.
func (loading) Host(context.Context, schema.User, string) (*view.Host, error) {
	return nil, status.ErrLoading
}

// Releases implements status.Data.
func (loading) Releases(context.Context, schema.User, url.Values) (*view.Releases, error) {
	return nil, status.ErrLoading
}

// Release implements status.Data.
func (loading) Release(context.Context, schema.User, int64) (*view.Release, error) {
	return nil, status.ErrLoading
}

// Package implements status.Data.
func (loading) Package(context.Context, schema.User, string) (*view.Package, error) {
	return nil, status.ErrLoading
}
