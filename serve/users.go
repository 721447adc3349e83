package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/audit"
	"bakehouse/serve/desk"
	"bakehouse/serve/inventory"
	"bakehouse/serve/limit"
	"bakehouse/serve/origin"
	"bakehouse/serve/rollout/keeper"
	"bakehouse/serve/token"
)

// asUser lets requests through that carry the name and password of a user of the signed access target.
func (s *Server) asUser(next func(x *exchange, r *http.Request, by audit.Actor)) func(*exchange, *http.Request) {
	return func(x *exchange, r *http.Request) {
		name, given, ok := r.BasicAuth()
		if !ok || given == "" || schema.CheckName(name) != nil {
			s.refuseUser(x)
			return
		}
		u, ok, wait := s.checkUser(r.Context(), limit.Address(r.RemoteAddr), name, given)
		switch {
		case wait > 0:
			x.tooMany(wait, "too many attempts to log in")
		case !ok:
			s.refuseUser(x)
		default:
			x.who = name
			next(x, r, audit.Actor{Name: name, From: r.RemoteAddr, User: &u})
		}
	}
}

// checkUser compares a password within the bounds of the gate, and notes a failure.
func (s *Server) checkUser(ctx context.Context, address, name, password string) (schema.User, bool, time.Duration) {
	rel, _ := s.releases.Now()
	u, ok, wait := s.users.Check(ctx, rel.Access, address, name, password)
	if !ok && wait == 0 {
		if _, known := rel.Access.Users[name]; !known {
			name = "unknown user" // what was given as a name and is none may be the password
		}
		s.audit.Sum(ctx, audit.Failed, inventory.Event{Who: name, From: address, Detail: "wrong user or password"})
	}
	return u, ok, wait
}

func (x *exchange) tooMany(wait time.Duration, text string) {
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	x.Header().Set("Retry-After", seconds)
	x.problem(http.StatusTooManyRequests, text, "try again in "+seconds+" seconds")
}

func (s *Server) refuseUser(x *exchange) {
	x.Header().Set("WWW-Authenticate", `Basic realm="bakehouse"`)
	x.problem(http.StatusUnauthorized, "wrong user or password",
		"users are in the config repo (bakehouse access add) and count once reconcile has published them")
}

// registrar is who registers a host: a user, or whoever has a join token.
type registrar struct {
	actor audit.Actor
	token *inventory.Token // nil: a user
}

// may says why the registrar may not register hosts of that name.
func (g registrar) may(rel *origin.Release, host string) error {
	switch {
	case g.token != nil:
		return token.Names(*g.token, rel.Access, host)
	case !g.actor.May(schema.PermRegister, host):
		return fault.Hint(fmt.Errorf("user %s may not register host %s", g.actor.Name, host),
			"the user's permissions in the config repo say which hosts; changes count once reconcile has published "+
				"them")
	}
	return nil
}

// replaces reports whether the registrar may take the place of a registration that its host polls with.
func (g registrar) replaces(rel *origin.Release, q schema.RegisterRequest) bool {
	if g.token != nil {
		return token.Replaces(*g.token, rel.Access, q.Host)
	}
	return q.Replace && g.actor.May(schema.PermRevoke, q.Host)
}

// asRegistrar lets users through, and whoever has a join token that is valid. Comparing a token costs next to nothing,
// so the right one is never told to wait, however many hosts come at once from one address. Why a token counts no
// longer is told to who has it.
func (s *Server) asRegistrar(next func(*exchange, *http.Request, registrar)) func(*exchange, *http.Request) {
	users := s.asUser(func(x *exchange, r *http.Request, by audit.Actor) { next(x, r, registrar{actor: by}) })
	return func(x *exchange, r *http.Request) {
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			users(x, r)
			return
		}
		var t inventory.Token
		id, ok := token.ID(text)
		if ok {
			var err error
			if t, err = s.inventory.Token(r.Context(), id); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.log.Error("inventory", "error", err)
				x.unavailable()
				return
			}
		}
		if !token.Matches(t, text) {
			s.refuseToken(x, r, id)
			return
		}
		x.who = "token " + id
		rel, _ := s.releases.Now()
		by := registrar{audit.Actor{Name: x.who, From: r.RemoteAddr}, &t}
		if err := token.Valid(t, rel.Access, time.Now()); err != nil {
			s.audit.Sum(r.Context(), audit.Refused, inventory.Event{Who: x.who, From: limit.Address(r.RemoteAddr),
				Token: id, Detail: err.Error()})
			x.problem(http.StatusForbidden, err.Error(), fault.HintOf(err))
			return
		}
		next(x, r, by)
	}
}

func (s *Server) refuseToken(x *exchange, r *http.Request, id string) {
	address := limit.Address(r.RemoteAddr)
	if wait := s.guesses.Note(address, id, time.Now()); wait > 0 {
		x.tooMany(wait, "too many attempts with wrong join tokens")
		return
	}
	s.audit.Sum(r.Context(), audit.Failed, inventory.Event{Who: "join token", From: address, Token: id,
		Detail: "wrong join token"})
	x.Header().Set("WWW-Authenticate", `Bearer realm="bakehouse"`)
	x.problem(http.StatusUnauthorized, "wrong join token", "create one with bakehouse token create")
}

// ended explains to a host with the secret of a registration that ended why it is not registered. Whoever has another
// secret, or asks for a host that never was, is told the same for the same work.
func (s *Server) ended(r *http.Request, host string, secret schema.Digest) (text, hint string) {
	text = "the host is not registered here, or its secret is wrong"
	hint = "register it again with bakehouse-agent register"
	h, _ := s.inventory.Host(r.Context(), host)
	if h == nil || h.End.How == "" || h.Secret != secret {
		return text, hint
	}
	return "the registration of host " + host + " has ended: " + h.End.How + " by " + h.End.By + " at " +
		h.End.At.Format(time.RFC3339), hint
}

// counter is the desk as HTTP has it.
type counter struct {
	desk *desk.Desk
	log  *slog.Logger
}

// answer answers a user with v, 204 for nil, or with what stands against it.
func (c counter) answer(x *exchange, v any, err error) {
	x.Header().Set("Cache-Control", "no-store")
	status := http.StatusBadRequest
	switch {
	case err == nil && v == nil:
		x.WriteHeader(http.StatusNoContent)
		return
	case err == nil:
		x.answer(http.StatusOK, v)
		return
	case errors.Is(err, desk.ErrDenied):
		status = http.StatusForbidden
	case errors.Is(err, fs.ErrNotExist):
		status = http.StatusNotFound
	case !errors.Is(err, desk.ErrInvalid):
		c.log.Error("inventory", "error", err)
		x.unavailable()
		return
	}
	x.problem(status, err.Error(), fault.HintOf(err))
}

func (c counter) tokens(x *exchange, r *http.Request, by audit.Actor) {
	list, err := c.desk.List(r.Context(), by)
	c.answer(x, list, err)
}

func (c counter) createToken(x *exchange, r *http.Request, by audit.Actor) {
	var spec token.Spec
	if x.decode(r, &spec) {
		created, err := c.desk.Create(r.Context(), by, spec)
		c.answer(x, created, err)
	}
}

func (c counter) revokeToken(x *exchange, r *http.Request, by audit.Actor) {
	c.answer(x, nil, c.desk.RevokeToken(r.Context(), by, r.PathValue("id")))
}

func (c counter) revoke(x *exchange, r *http.Request, by audit.Actor) {
	c.answer(x, nil, c.desk.Revoke(r.Context(), by, r.PathValue("host")))
}

func (c counter) forget(x *exchange, r *http.Request, by audit.Actor) {
	c.answer(x, nil, c.desk.Forget(r.Context(), by, r.PathValue("host")))
}

func (c counter) rollout(x *exchange, r *http.Request, by audit.Actor) {
	state, err := c.desk.Rollouts(r.Context(), by)
	c.answer(x, state, err)
}

func (c counter) actOnRollout(x *exchange, r *http.Request, by audit.Actor) {
	var do keeper.Command
	if x.decode(r, &do) {
		result, err := c.desk.ActOnRollout(r.Context(), by, do)
		c.answer(x, result, err)
	}
}

func (c counter) events(x *exchange, r *http.Request, by audit.Actor) {
	since, err := time.Parse(time.RFC3339, r.URL.Query().Get("since"))
	if err != nil && r.URL.Query().Has("since") {
		x.problem(http.StatusBadRequest, "invalid time in since", "want a time such as 2030-01-02T15:04:05Z")
		return
	}
	events, err := c.desk.Events(r.Context(), by, since)
	c.answer(x, events, err)
}
