package serve

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
	"bakehouse/schema/uplink"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/tidy"
	"bakehouse/serve/token"
)

// serveRegister gives a host of the fleet a new secret; an earlier one no longer counts. A registration that the host
// polls with is replaced only by who has its secret, or may revoke it and says so.
func (s *Server) serveRegister(x *exchange, r *http.Request, by registrar) {
	var q schema.RegisterRequest
	if !x.decode(r, &q) {
		return
	}
	version, ok := s.agree(x, q.Schema)
	if !ok {
		return
	}
	if err := schema.CheckHostName(q.Host); err != nil {
		x.problem(http.StatusBadRequest, err.Error(), "")
		return
	}
	event := inventory.Event{Who: by.actor.Name, From: by.actor.From, Host: q.Host}
	user, id := by.actor.Name, ""
	if by.token != nil {
		user, id, event.Token = by.token.User, by.token.ID, by.token.ID
	}
	rel, _ := s.releases.Now()
	refuse := func(status int, err error) {
		event.Detail = err.Error()
		s.audit.Sum(r.Context(), audit.Refused, event)
		x.problem(status, err.Error(), fault.HintOf(err))
	}
	if err := by.may(rel, q.Host); err != nil {
		refuse(http.StatusForbidden, err)
		return
	}
	a, ok := rel.Hosts[q.Host]
	if !ok {
		refuse(http.StatusNotFound, s.notInFleet(r.Context(), rel, q.Host))
		return
	}
	if by.token != nil {
		if err := token.Covers(*by.token, rel.Access, a); err != nil {
			refuse(http.StatusForbidden, err)
			return
		}
	}
	claim := inventory.Claim{Replace: by.replaces(rel, q)}
	if q.Secret != "" {
		claim.Secret = schema.DigestOf([]byte(q.Secret))
	}
	secret := rand.Text() + rand.Text() // 260 random bits
	before, err := s.inventory.Register(r.Context(), inventory.Registration{Host: q.Host,
		Secret: schema.DigestOf([]byte(secret)), User: user, Token: id, Platform: q.Platform,
		Agent: tidy.Clean(q.Agent, 64),
		At:    time.Now()}, claim, rel.OtherNames(q.Host)...)
	switch {
	case errors.Is(err, inventory.ErrLive):
		refuse(http.StatusConflict, stillLive(before, q, by))
		return
	case errors.Is(err, inventory.ErrTokenSpent):
		refuse(http.StatusForbidden, token.Spent(*by.token))
		return
	case err != nil:
		s.log.Error("inventory", "error", err)
		x.unavailable()
		return
	}
	about := []any{"host", q.Host, "user", user, "token", id, "platform", q.Platform.String(), "address", r.RemoteAddr}
	event.What = audit.Registered
	if before == nil {
		s.log.Info("registered", about...)
	} else {
		if before.Live() {
			event.What = audit.Replaced
		}
		event.Detail = fmt.Sprintf("before: by %s at %s", before.User, before.At.Format(time.RFC3339))
		s.log.Warn("registration replaced", append(about, "registered", before.At, "by", before.User,
			"polled", before.Seen.At, "from", before.Seen.Address)...)
	}
	s.audit.Record(r.Context(), event)
	s.sites.Came(q.Host, x.site)
	x.Header().Set("Cache-Control", cacheNever)
	x.answer(http.StatusOK, schema.RegisterAnswer{Schema: version, Secret: secret, Site: a.Site})
}

// notInFleet says why a host is not registered that the fleet does not list.
func (s *Server) notInFleet(ctx context.Context, rel *origin.Release, host string) error {
	if now, renamed := rel.NameNow(host); renamed {
		return fault.Hint(fmt.Errorf("host %s is called %s now in the fleet %s", host, now, rel.Policy.Fleet),
			"register it under that name: --host %s", now)
	}
	err := errors.New(outcome.NoPackage(rel.Policy.Fleet, host))
	if h, _ := s.inventory.Host(ctx, host); h != nil {
		return fault.Hint(fmt.Errorf("%w any more: it was registered at %s", err, h.At.Format(time.RFC3339)),
			"if it is to come back, add it under hosts/ of the config repo again, with a rule for the updater, and "+
				"reconcile")
	}
	return fault.Hint(err,
		"add it under hosts/ of the config repo, with a rule for the updater, and reconcile; or register it under the "+
			"name that it has there")
}

// stillLive says why a registration stays that its host polls with, and what would replace it.
func stillLive(h *inventory.Host, q schema.RegisterRequest, by registrar) error {
	err := fmt.Errorf("host %s is registered, by %s, and polled at %s from %s",
		h.Host, h.User, h.Seen.At.Format(time.RFC3339), h.Seen.Address)
	lost := fmt.Sprintf("end that registration first with bakehouse host revoke %s, or use a join token that replaces "+
		"(bakehouse token create --replace); the one that polls now is locked out then", h.Host)
	switch {
	case q.Secret != "":
		err = fmt.Errorf("%w; the secret that this host has is not the one of that registration", err)
	case by.token == nil && q.Replace:
		err = fmt.Errorf("%w; user %s may not replace it without the permission revoke", err, by.actor.Name)
	case by.token == nil && by.actor.May(schema.PermRevoke, h.Host):
		lost = "if it was set up again, register it with --force; the one that polls now is locked out then"
	}
	return fault.Hint(err, "%s", lost)
}

// serveUnregister ends the registration of the host that says so.
func (s *Server) serveUnregister(x *exchange, r *http.Request, host string) {
	now := time.Now()
	err := s.inventory.End(r.Context(), x.who, inventory.End{How: inventory.Unregistered, By: "host " + x.who, At: now})
	if err != nil {
		s.log.Error("inventory", "error", err)
		x.unavailable()
		return
	}
	s.audit.Record(r.Context(), inventory.Event{At: now, What: audit.Unregistered, Who: "host " + host,
		From: r.RemoteAddr, Host: host})
	s.log.Info("unregistered", "host", host, "address", r.RemoteAddr)
	x.WriteHeader(http.StatusNoContent)
}

// serveDownloadLink is serveDownload for who is signed in.
func (s *Server) serveDownloadLink(x *exchange, r *http.Request) {
	name, u, ok := s.pages.Who(r)
	if !ok {
		x.notFound()
		return
	}
	x.who = name
	s.serveDownload(x, r, audit.Actor{Name: name, From: r.RemoteAddr, User: &u})
}

// serveDownload streams the package that a host shall have, for its first installation by hand.
func (s *Server) serveDownload(x *exchange, r *http.Request, by audit.Actor) {
	host := r.PathValue("host")
	rel, _ := s.releases.Now()
	if schema.CheckHostName(host) != nil || !by.May(schema.PermDownload, host) {
		x.notFound()
		return
	}
	list := candidates(rel, host)
	i := slices.IndexFunc(list, func(p inventory.Package) bool {
		return !slices.Contains(rel.Policy.Revoked, p.SHA256)
	})
	if i < 0 {
		x.notFound()
		return
	}
	m, err := s.manifestOf(host, list[i])
	if err != nil {
		s.storeTrouble("manifest", list[i].Manifest.Hex(), err)
		x.unavailable()
		return
	}
	s.servePackage(x, r, host, list[i],
		mime.FormatMediaType("attachment", map[string]string{"filename": fileName(m.Manifest)}))
}

var notInFileNames = regexp.MustCompile(`[^A-Za-z0-9.+~-]+`)

// fileName is what package managers call such a file: NAME_VERSION_ARCH.FORMAT.
func fileName(m *schema.Manifest) string {
	return m.Name + "_" + notInFileNames.ReplaceAllString(m.Version, "-") + "_" + m.Platform.Arch + "." + string(m.Format)
}

// serveAdopt answers a site whether a host that came to it is registered with the secret that it showed.
func (s *Server) serveAdopt(x *exchange, r *http.Request, site, _ string) {
	var q uplink.AdoptRequest
	if !x.decode(r, &q) {
		return
	}
	rel, _ := s.releases.Now()
	name, ok := s.known(x, r, q.Host, q.Secret)
	if !ok {
		return
	}
	s.sites.Came(name, site)
	h, ok, err := s.sites.Registration(r.Context(), rel, name)
	if err != nil || !ok {
		s.log.Error("inventory", "error", err)
		x.unavailable()
		return
	}
	s.log.Info("a host came to another site than its own", "host", name, "site", site)
	x.Header().Set("Cache-Control", cacheNever)
	x.answer(http.StatusOK, h)
}

// serveForwarded registers a host that came to a site, with the credentials and from the address that it came with.
func (s *Server) serveForwarded(x *exchange, r *http.Request, site, _ string) {
	var q uplink.RegisterRequest
	if !x.decode(r, &q) {
		return
	}
	body, err := json.Marshal(q.Request)
	if err != nil {
		panic(err) // it came as JSON
	}
	at := r.Clone(r.Context())
	at.RemoteAddr, at.Body = tidy.Clean(q.Address, 64), io.NopCloser(bytes.NewReader(body))
	at.Header.Set("Authorization", q.Authorization)
	x.site = site
	s.asRegistrar(s.serveRegister)(x, at)
}

// forwardRegister hands a registration on to the centre. A password is sent no further than signed policy lets it.
func (s *Server) forwardRegister(x *exchange, r *http.Request) {
	var q schema.RegisterRequest
	if !x.decode(r, &q) {
		return
	}
	version, ok := s.agree(x, q.Schema)
	if !ok {
		return
	}
	rel, _ := s.releases.Now()
	user, _, password := r.BasicAuth()
	switch {
	case password && !rel.Policy.Sites[s.site.Name()].Passwords:
		x.problem(http.StatusForbidden, "the site "+s.site.Name()+" takes no passwords; this one went no further",
			"register with a join token (bakehouse token create at the centre), or at "+
				rel.Policy.Sites[schema.CentralSite].URL)
		return
	case r.Header.Get("Authorization") == "":
		s.refuseUser(x)
		return
	}
	q.Schema = s.speaks
	a, err := s.site.Register(r.Context(), uplink.RegisterRequest{Address: r.RemoteAddr,
		Authorization: r.Header.Get("Authorization"), Request: q}, user)
	if err != nil {
		s.notForwarded(x, err, "the host was not registered")
		return
	}
	x.who = q.Host
	s.log.Info("registered at the centre", "host", q.Host, "address", r.RemoteAddr)
	s.noteTrouble(s.releases.Follow(r.Context()))
	a.Schema = version
	x.Header().Set("Cache-Control", cacheNever)
	x.answer(http.StatusOK, a)
}

// notForwarded answers what the centre did, or that it cannot be asked.
func (s *Server) notForwarded(x *exchange, err error, outcome string) {
	var status *wire.StatusError
	if errors.As(err, &status) && !status.Foreign && !errors.Is(err, wire.ErrUnreachable) ||
		errors.As(err, &status) && status.Status == http.StatusTooManyRequests {
		if after := status.After(); after > 0 {
			x.Header().Set("Retry-After", strconv.Itoa(int(after/time.Second)))
		}
		x.problem(status.Status, status.Message, fault.HintOf(err))
		return
	}
	s.log.Warn("a request that only the centre can answer was sent away", "error", err)
	x.Header().Set("Retry-After", "60")
	x.problem(http.StatusServiceUnavailable, "this site cannot reach the centre now: "+outcome,
		"try again later, or ask the centre itself")
}

// forwardUnregister ends a registration at the centre, and here.
func (s *Server) forwardUnregister(x *exchange, r *http.Request, host string) {
	if err := s.site.Unregister(r.Context(), host); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.notForwarded(x, err, "the host is still registered")
		return
	}
	s.serveUnregister(x, r, host)
}

// misdirected answers people and programs that want what only the centre has.
func (s *Server) misdirected(x *exchange, _ *http.Request) {
	rel, _ := s.releases.Now()
	x.problem(http.StatusMisdirectedRequest, "this server is the site "+s.site.Name()+", for hosts alone",
		"ask the centre: "+rel.Policy.Sites[schema.CentralSite].URL)
}
