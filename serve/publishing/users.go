package publishing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/limit"
	"bakehouse/serve/store"
)

// AllHosts is the pattern that the permission publish must have: who writes to the store publishes to every host, and
// reads every package.
const AllHosts = "~.*"

// Users offers a store to users with the permission publish. Make it with For.
type Users struct {
	handler *Handler
	log     *slog.Logger
	audit   *audit.Log
}

// For offers a store, verified from the root anchor, by the Rules.
func For(s store.Store, anchor []byte, log *slog.Logger, events *audit.Log) *Users {
	u := &Users{log: log, audit: events}
	rules := &Rules{Store: s, Anchor: anchor}
	u.handler = &Handler{Store: s, Log: log, Admit: rules.Admit, Created: u.created}
	return u
}

// Serve answers a user whose password was right.
func (u *Users) Serve(w http.ResponseWriter, r *http.Request, by audit.Actor) {
	if !slices.Contains(by.User.Permissions[schema.PermPublish], AllHosts) {
		u.audit.Sum(r.Context(), audit.Refused, inventory.Event{Who: by.Name, From: limit.Address(by.From),
			Detail: "the store, without the permission publish"})
		problem(w, http.StatusForbidden, fmt.Sprintf("user %s lacks the permission publish for all hosts", by.Name),
			"give it in access.cue: publish: [\""+AllHosts+"\"]; it counts once reconcile has published it")
		return
	}
	u.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), publisher{}, by)))
}

// publisher is the key of who publishes, in a request's context.
type publisher struct{}

// created notes what makes a difference to hosts.
func (u *Users) created(r *http.Request, key string) {
	root := strings.HasPrefix(key, schema.MetadataDir) && strings.HasSuffix(key, ".root.json")
	if !root && !strings.HasPrefix(key, schema.TimestampDir) {
		return
	}
	by, _ := r.Context().Value(publisher{}).(audit.Actor)
	u.log.Info("published through this server", "what", key, "who", by.Name, "from", by.From)
	u.audit.Record(r.Context(), inventory.Event{What: audit.Published, Who: by.Name, From: by.From, Detail: key})
}
