package serve

import (
	"context"
	"log/slog"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/limit"
	"bakehouse/serve/origin"
	"bakehouse/serve/status"
)

// newPages makes the pages of what is served; users are those of its release.
func newPages(releases *origin.Follower, gate *limit.Gate, log *slog.Logger) *status.Pages {
	return status.New(status.Options{Users: pageUsers{releases, gate}, Data: pageData{releases}, Log: log})
}

type pageUsers struct {
	releases *origin.Follower
	gate     *limit.Gate
}

// Check implements status.Users.
func (p pageUsers) Check(ctx context.Context, address, name, password string) (schema.User, bool, time.Duration) {
	rel, _ := p.releases.Now()
	return p.gate.Check(ctx, rel.Access, address, name, password)
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
