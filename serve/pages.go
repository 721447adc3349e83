package serve

import (
	"context"
	"log/slog"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/limit"
	"bakehouse/serve/origin"
	"bakehouse/serve/status"
)

// newPages makes the pages of what is served; users are those of its release.
func newPages(releases *origin.Follower, gate *limit.Gate, events *audit.Log, log *slog.Logger) *status.Pages {
	return status.New(status.Options{Users: pageUsers{releases, gate, events}, Data: pageData{releases}, Log: log})
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
	switch {
	case ok:
		p.audit.Record(ctx, inventory.Event{What: audit.SignedIn, Who: name, From: address})
	case wait == 0:
		failed(ctx, p.audit, rel.Access, address, name)
	}
	return u, ok, wait
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

type pageData struct{ releases *origin.Follower }

// Fleet implements status.Data.
func (p pageData) Fleet() string {
	rel, _ := p.releases.Now()
	return rel.Policy.Fleet
}
