package serve

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io/fs"
	"net/http"
	"slices"

	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/schema/fault"
	"bakehouse/schema/uplink"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/sites"
	"bakehouse/serve/store"
	"bakehouse/serve/tidy"
	"bakehouse/serve/upstream"
)

// registration finds what a host is registered as, by the name that it goes under: as that, or, if nobody is, under
// another name that signed metadata say it has or had.
func (s *Server) registration(ctx context.Context, host string) (name string, secret schema.Digest, err error) {
	rel, _ := s.releases.Now()
	for _, name := range append([]string{host}, rel.OtherNames(host)...) {
		secret, err := s.inventory.Secret(ctx, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return name, secret, err
		}
	}
	return host, secret, fs.ErrNotExist
}

// rename moves a registration to the name that its host goes under now. Until the host itself does, it stays where it
// is: a commit may take the new name back.
func (s *Server) rename(ctx context.Context, was, now string) {
	if rel, _ := s.releases.Now(); rel.Hosts[now] == nil {
		return
	}
	if err := s.inventory.Rename(ctx, was, now); err != nil {
		s.log.Error("inventory", "error", err) // both names are found all the same
		return
	}
	s.log.Info("a host goes under its new name", "host", now, "was", was)
}

// asHost lets requests through that carry the name and secret of a registered host, and those of a site for a host of
// its own.
func (s *Server) asHost(next func(x *exchange, r *http.Request, host string)) func(*exchange, *http.Request) {
	site := s.forHost(next)
	return func(x *exchange, r *http.Request) {
		if r.Header.Get(uplink.SiteHeader) != "" {
			site(x, r)
			return
		}
		host, secret, _ := r.BasicAuth()
		name, ok := s.known(x, r, host, schema.DigestOf([]byte(secret)))
		if !ok {
			return
		}
		if x.who = name; name != host {
			s.rename(r.Context(), name, host)
		}
		s.sites.Came(name, "")
		next(x, r.WithContext(store.For(r.Context(), host)), host)
	}
}

// known returns what a host is registered as with that secret, or answers the request. Guessing is not slowed down: a
// secret has 256 random bits. An unknown host costs the same work as a wrong secret and is answered alike.
func (s *Server) known(x *exchange, r *http.Request, host string, secret schema.Digest) (name string, ok bool) {
	ok = schema.CheckHostName(host) == nil
	want, name := s.nobody, host
	if ok {
		registered, d, err := s.registration(r.Context(), host)
		switch {
		case err == nil:
			want, name = d, registered
		case !errors.Is(err, fs.ErrNotExist):
			s.log.Error("inventory", "error", err)
			x.unavailable()
			return "", false
		}
	}
	right := subtle.ConstantTimeCompare(secret[:], want[:]) == 1 && ok
	if !right && ok && s.site != nil {
		if !s.adopt(x, r, host, secret) {
			return "", false
		}
		name, _, err := s.registration(r.Context(), host) // which may be a former name's
		if err != nil {
			s.log.Error("inventory", "error", err)
			x.unavailable()
		}
		return name, err == nil
	}
	if !right {
		x.Header().Set("WWW-Authenticate", `Basic realm="bakehouse"`)
		text, hint := s.ended(r, host, secret)
		x.problem(http.StatusUnauthorized, text, hint)
		return "", false
	}
	return name, true
}

// asAnyone lets requests through also without a name and secret, as those of nobody (host is empty), if what they ask
// for is open.
func (s *Server) asAnyone(open func(*http.Request) bool, next func(x *exchange, r *http.Request, host string),
) func(*exchange, *http.Request) {
	known := s.asHost(next)
	return func(x *exchange, r *http.Request) {
		forNone := r.Header.Get(uplink.SiteHeader) != "" && r.Header.Get(uplink.HostHeader) == ""
		if r.Header.Get("Authorization") != "" && !forNone || !open(r) {
			known(x, r)
			return
		}
		r.Header.Del(delta.HaveHeader) // strangers choose no work for us
		next(x, r, "")
	}
}

func randomDigest() (d schema.Digest) {
	_, _ = rand.Read(d[:]) // never fails
	return d
}

// candidates are the packages that signed metadata give the host now, newest first.
func candidates(rel *origin.Release, host string) []inventory.Package {
	a, ok := rel.Hosts[host]
	if !ok {
		return nil
	}
	var list []inventory.Package
	for _, c := range a.Candidates() {
		list = append(list, inventory.Package{SHA256: c.SHA256, Manifest: c.Manifest})
	}
	return list
}

// findPackage returns the host's package for which is is true, looking at its candidates, then at what it was given
// before. The second result is false if it has none such; an error is the inventory's.
func (s *Server) findPackage(ctx context.Context, host string, is func(inventory.Package) bool) (inventory.Package, bool, error) {
	rel, _ := s.releases.Now()
	list := candidates(rel, host)
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], true, nil
	}
	given, err := s.inventory.Packages(ctx, host)
	if err != nil {
		return inventory.Package{}, false, err
	}
	if i := slices.IndexFunc(given, is); i >= 0 {
		return given[i], true, nil
	}
	return inventory.Package{}, false, nil
}

// asSite lets requests through of users who may speak for the site that they name.
func (s *Server) asSite(next func(x *exchange, r *http.Request, site, user string)) func(*exchange, *http.Request) {
	return s.asUser(func(x *exchange, r *http.Request, by audit.Actor) {
		rel, _ := s.releases.Now()
		site := r.Header.Get(uplink.SiteHeader)
		if err := sites.Allows(*by.User, by.Name, site, rel.Policy); err != nil || schema.CheckName(site) != nil {
			x.problem(http.StatusForbidden, tidy.Clean(errors.Join(err).Error(), 300), fault.HintOf(err))
			return
		}
		next(x, r, site, by.Name)
	})
}

// forHost lets a site read what one of its hosts may.
func (s *Server) forHost(next func(x *exchange, r *http.Request, host string)) func(*exchange, *http.Request) {
	return s.asSite(func(x *exchange, r *http.Request, site, _ string) {
		host := r.Header.Get(uplink.HostHeader)
		rel, _ := s.releases.Now()
		owns := false
		name, _, err := s.registration(r.Context(), host)
		if err == nil {
			owns, err = s.sites.Owns(r.Context(), rel, site, host)
		}
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			s.log.Error("inventory", "error", err)
			x.unavailable()
		case !owns:
			x.notFound()
		default:
			x.who = name
			next(x, r, host)
		}
	})
}

// adopt asks the centre about a host that this site does not know with that secret, or answers the request.
func (s *Server) adopt(x *exchange, r *http.Request, host string, secret schema.Digest) bool {
	err := s.site.Adopt(r.Context(), host, secret)
	switch {
	case errors.Is(err, upstream.ErrUnknown):
		x.Header().Set("WWW-Authenticate", `Basic realm="bakehouse"`)
		x.problem(http.StatusUnauthorized, "the host is not registered, or its secret is wrong",
			cmp.Or(fault.HintOf(err), "register it again with bakehouse-agent register"))
	case err != nil:
		s.log.Warn("a host that this site does not know is sent away", "host", host, "error", err)
		x.Header().Set("Retry-After", "60")
		x.problem(http.StatusServiceUnavailable, "this site does not know the host, and cannot ask the centre now",
			"try again later; nothing was changed")
	default:
		s.noteTrouble(s.releases.Follow(r.Context()))
	}
	return err == nil
}
