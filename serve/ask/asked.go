package ask

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/desk"
	"bakehouse/serve/token"
)

// local is the server on this machine.
type local struct {
	desk *desk.Desk
	by   audit.Actor
}

func (l local) create(ctx context.Context, s token.Spec) (*desk.Created, error) {
	return l.desk.Create(ctx, l.by, s)
}
func (l local) tokens(ctx context.Context) (*desk.Tokens, error) { return l.desk.List(ctx, l.by) }
func (l local) revokeToken(ctx context.Context, id string) error {
	return l.desk.RevokeToken(ctx, l.by, id)
}
func (l local) revoke(ctx context.Context, host string) error { return l.desk.Revoke(ctx, l.by, host) }
func (l local) forget(ctx context.Context, host string) error { return l.desk.Forget(ctx, l.by, host) }
func (l local) events(ctx context.Context, since time.Time) (*desk.Events, error) {
	return l.desk.Events(ctx, l.by, since)
}

// remote is a server that is asked over HTTPS.
type remote struct{ client *client }

func (r remote) create(ctx context.Context, s token.Spec) (*desk.Created, error) {
	var made desk.Created
	return &made, r.client.do(ctx, http.MethodPost, schema.TokensPath, s, &made)
}

func (r remote) tokens(ctx context.Context) (*desk.Tokens, error) {
	var list desk.Tokens
	return &list, r.client.do(ctx, http.MethodGet, schema.TokensPath, nil, &list)
}

func (r remote) revokeToken(ctx context.Context, id string) error {
	return r.client.do(ctx, http.MethodDelete, schema.TokensPath+"/"+url.PathEscape(id), nil, nil)
}

func (r remote) revoke(ctx context.Context, host string) error {
	return r.client.do(ctx, http.MethodPost, schema.HostsPath+url.PathEscape(host)+"/revoke", nil, nil)
}

func (r remote) forget(ctx context.Context, host string) error {
	return r.client.do(ctx, http.MethodDelete, schema.HostsPath+url.PathEscape(host), nil, nil)
}

func (r remote) events(ctx context.Context, since time.Time) (*desk.Events, error) {
	var list desk.Events
	path := schema.AuditPath + "?since=" + url.QueryEscape(since.UTC().Format(time.RFC3339))
	return &list, r.client.do(ctx, http.MethodGet, path, nil, &list)
}
