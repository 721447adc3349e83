package serve

import (
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
)

// serveRegister gives a host of the fleet a new secret; an earlier one no longer counts. One that the host polls with
// is replaced only if the request says so.
func (s *Server) serveRegister(x *exchange, r *http.Request, name string, u schema.User) {
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
	if !u.Allows(schema.PermRegister, q.Host) {
		x.problem(http.StatusForbidden, "user "+name+" may not register host "+q.Host,
			"the user's permissions in the config repo say which hosts; changes count once reconcile has published them")
		return
	}
	rel, _ := s.releases.Now()
	a, ok := rel.Hosts[q.Host]
	if !ok {
		x.problem(http.StatusNotFound, "host "+q.Host+" is not in the fleet "+rel.Policy.Fleet,
			"add it under hosts/ of the config repo and reconcile, or register it under the name that stands there")
		return
	}
	secret := rand.Text() + rand.Text() // 260 random bits
	before, err := s.inventory.Register(r.Context(), inventory.Registration{Host: q.Host,
		Secret: schema.DigestOf([]byte(secret)), User: name, Platform: q.Platform, Agent: clean(q.Agent, 64),
		At: time.Now()}, inventory.Claim{Replace: q.Replace}, rel.OtherNames(q.Host)...)
	if errors.Is(err, inventory.ErrLive) {
		x.problem(http.StatusConflict, fmt.Sprintf("host %s is registered, by %s, and polled at %s from %s",
			before.Host, before.User, before.Seen.At.Format(time.RFC3339), before.Seen.Address),
			"if it was set up again, register it with --force; the one that polls now is locked out then")
		return
	}
	if err != nil {
		s.log.Error("inventory", "error", err)
		x.unavailable()
		return
	}
	if before == nil {
		s.log.Info("registered", "host", q.Host, "user", name, "platform", q.Platform.String(), "address", r.RemoteAddr)
	} else {
		s.log.Warn("registration replaced", "host", q.Host, "user", name, "platform", q.Platform.String(),
			"address", r.RemoteAddr, "registered", before.At, "by", before.User, "polled", before.Seen.At,
			"from", before.Seen.Address)
	}
	x.Header().Set("Cache-Control", cacheNever)
	x.answer(http.StatusOK, schema.RegisterAnswer{Schema: version, Secret: secret, Site: a.Site})
}

// serveDownload streams the package that a host shall have, for its first installation by hand.
func (s *Server) serveDownload(x *exchange, r *http.Request, _ string, u schema.User) {
	host := r.PathValue("host")
	rel, _ := s.releases.Now()
	if schema.CheckHostName(host) != nil || !u.Allows(schema.PermDownload, host) {
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
	m, err := s.manifestOf(list[i])
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
