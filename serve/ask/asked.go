package ask

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/audit"
	"bakehouse/serve/desk"
	"bakehouse/serve/hosts/live"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
	"bakehouse/serve/sites"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
	"bakehouse/serve/token"
	"bakehouse/serve/view/build"
)

// local is the server on this machine.
type local struct {
	desk *desk.Desk
	db   *inventory.DB
	at   string // its store
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

func (l local) rollouts(ctx context.Context) (*desk.Rollouts, error) {
	return l.desk.Rollouts(ctx, l.by)
}
func (l local) actOnRollout(ctx context.Context, c keeper.Command) (*keeper.Result, error) {
	return l.desk.ActOnRollout(ctx, l.by, c)
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

// view fills out with what a page's path shows.
func (r remote) view(ctx context.Context, path string, q url.Values, out any) error {
	if path += ".json"; len(q) > 0 {
		path += "?" + q.Encode()
	}
	return r.client.do(ctx, http.MethodGet, path, nil, out)
}

// view verifies the store's release, and reads the states of hosts from the database.
func (l local) view(ctx context.Context, path string, q url.Values, out any) error {
	st, err := stores.OpenExisting(ctx, l.at)
	if err != nil {
		return err
	}
	anchor, err := store.Read(ctx, st, schema.MetadataKey("root", 1), schema.MaxRoot)
	if err != nil {
		return fault.Hint(fmt.Errorf("store %s has no first root: %w", l.at, err),
			"set --store to what the server serves")
	}
	follow := live.New(l.db, slog.New(slog.DiscardHandler), time.Now)
	releases, err := origin.New(st, anchor, store.Mark{}, origin.Watch{Changed: follow.Publish,
		Record: func(store.Mark) {}})
	if err == nil {
		err = releases.Follow(ctx)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", l.at, err)
	}
	if !follow.Loaded() {
		return errors.New("the database cannot be read")
	}
	verdicts, err := keeper.New(ctx, l.db, func() *rollout.Census { return nil }, time.Now,
		slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	rel, _ := releases.Now()
	if err := verdicts.Publish(ctx, rel.Policy, rel.Hosts); err != nil {
		return err
	}
	follow.Table.Gates(verdicts.Gates())
	known := sites.New(l.db, slog.New(slog.DiscardHandler), time.Now)
	contacts, err := known.Contacts(ctx)
	if err != nil {
		return err
	}
	follow.Table.Sites(sites.Silent(contacts, time.Now()))
	s := &build.Source{Release: releases.Now, Hosts: follow.Table, Inventory: l.db, Store: st, Rollout: verdicts.Of,
		Sites: known.Contacts}
	v, err := s.Answer(ctx, build.Everybody(), path, q)
	if bad := (*build.BadQuery)(nil); errors.As(err, &bad) {
		return fault.Hint(err, "see bakehouse host list --help")
	}
	if err != nil {
		return err
	}
	reflect.ValueOf(out).Elem().Set(reflect.ValueOf(v).Elem()) // of the same path, so of the same type
	return nil
}

func (r remote) rollouts(ctx context.Context) (*desk.Rollouts, error) {
	var list desk.Rollouts
	return &list, r.client.do(ctx, http.MethodGet, schema.RolloutPath, nil, &list)
}

func (r remote) actOnRollout(ctx context.Context, c keeper.Command) (*keeper.Result, error) {
	var result keeper.Result
	return &result, r.client.do(ctx, http.MethodPost, schema.RolloutPath, c, &result)
}
