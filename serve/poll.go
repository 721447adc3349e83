package serve

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/tidy"
)

// servePoll takes the host's report and says whether anything is new for it. An idle poll is answered 204.
func (s *Server) servePoll(x *exchange, r *http.Request, host string) {
	var q schema.PollRequest
	if !x.decode(r, &q) {
		return
	}
	version, ok := s.agree(x, q.Schema)
	if !ok {
		return
	}
	s.noteTrouble(s.releases.Peek(r.Context()))
	rel, _ := s.releases.Now()

	report := tidy.Report(q.Report)
	seen := inventory.Seen{At: time.Now(), Address: r.RemoteAddr, Timestamp: q.Timestamp, Root: q.Root, Report: report}
	s.take(r.Context(), rel, host, x.who, seen)
	if s.site != nil {
		if err := s.site.Report(r.Context(), host, seen); err != nil {
			s.log.Error("a report is not kept for the centre", "error", err) // the host gets its update all the same
		}
	}
	a := schema.PollAnswer{Schema: version, Root: rel.Root, Hold: hold(rel, host)}
	if now, renamed := rel.NameNow(host); renamed && s.free(r.Context(), now, x.who) {
		a.Name = now
	} else if a.Hold != "" {
		s.gone.Note(s.log, host, rel.Timestamp, a.Hold)
	}
	s.rollout.holdBack(&a, rel, host, &report)
	idle := a.Name == "" && q.Timestamp == rel.Timestamp && q.Held == (a.Hold != "") &&
		(!q.Held || q.HoldCode == a.HoldCode)
	switch {
	case idle && a.Next == 0:
		x.WriteHeader(http.StatusNoContent)
		return
	case !idle:
		a.Files = s.metadata.News(rel, host, q.MetadataVersions, s.log)
	}
	if h, ok := rel.Hosts[host]; ok {
		a.Site = h.Site
	}
	x.Header().Set("Cache-Control", cacheNever)
	x.answerTo(r, a)
}

// take takes what a host said of itself. name is what it is registered as.
func (s *Server) take(ctx context.Context, rel *origin.Release, host, name string, seen inventory.Seen) {
	if err := s.inventory.Report(name, seen); err != nil {
		s.log.Error("inventory", "error", err) // a lost report is no reason to keep an update from the host
	}
	s.machines.Note(ctx, name, seen.Report.Machine, seen.Address)
	// A package that was installed by hand was never asked for here; its later differences build on it all the same.
	for _, p := range candidates(rel, host) {
		if p.SHA256 == seen.Report.Installed || p.SHA256 == seen.Report.Downloaded {
			s.remember(ctx, host, p)
		}
	}
}

// hold says why this server holds the host back, if it does.
func hold(r *origin.Release, host string) string {
	now, renamed := r.NameNow(host)
	switch _, ok := r.Hosts[host]; {
	case ok:
		return ""
	case renamed:
		return "host " + host + " is called " + now + " now"
	}
	return outcome.NoPackage("", host)
}

// free reports whether a host that is registered as who can go under a name: nobody else is registered as that.
func (s *Server) free(ctx context.Context, name, who string) bool {
	if name == who {
		return true
	}
	_, err := s.inventory.Secret(ctx, name)
	return errors.Is(err, fs.ErrNotExist)
}

// serveSitePoll takes the reports of a site's hosts, and answers what is new for the site.
func (s *Server) serveSitePoll(x *exchange, r *http.Request, site, user string) {
	var q uplink.PollRequest
	if !x.decode(r, &q) {
		return
	}
	version, ok := s.agreeWithSite(x, q.Schema)
	if !ok {
		return
	}
	s.noteTrouble(s.releases.Peek(r.Context()))
	rel, _ := s.releases.Now()
	for _, report := range q.Reports {
		if err := s.takeReport(r.Context(), rel, site, report); err != nil {
			s.log.Error("inventory", "error", err)
			x.unavailable()
			return
		}
	}
	err := s.inventory.Flush(r.Context()) // what is acknowledged is forgotten there
	var a *uplink.PollAnswer
	if err == nil {
		a, err = s.sites.Poll(r.Context(), rel, site, r.RemoteAddr, user, &q)
	}
	if err != nil {
		s.log.Error("inventory", "error", err)
		x.unavailable()
		return
	}
	a.Schema = version
	x.Header().Set("Cache-Control", cacheNever)
	x.answerTo(r, a)
}

// takeReport takes what a host said to its site, as if it had said it here. What is not of the site, or no news, does
// not count.
func (s *Server) takeReport(ctx context.Context, rel *origin.Release, site string, q uplink.HostReport) error {
	if schema.CheckHostName(q.Host) != nil {
		return nil
	}
	name, _, err := s.registration(ctx, q.Host)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it ended meanwhile
	}
	if err != nil {
		return err
	}
	if owns, err := s.sites.Owns(ctx, rel, site, q.Host); err != nil || !owns {
		s.log.Debug("a site reports of a host that is not its own", "site", site, "host", q.Host)
		return err
	}
	if now := time.Now(); q.At.After(now) {
		q.At = now
	}
	if !s.sites.News(name, q.At) {
		return nil
	}
	if s.sites.Came(name, site); name != q.Host {
		s.rename(ctx, name, q.Host)
	}
	s.take(ctx, rel, q.Host, name, inventory.Seen{At: q.At, Address: tidy.Clean(q.Address, 64),
		Timestamp: q.Timestamp, Root: q.Root, Report: tidy.Report(q.Report)})
	return nil
}
