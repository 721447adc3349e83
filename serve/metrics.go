package serve

import (
	"net/http"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/hosts"
	"bakehouse/serve/metrics"
	"bakehouse/serve/view/build"
)

// serveMetrics answers Prometheus, as a user with the permission view: with the hosts that exist for that user.
func (s *Server) serveMetrics(x *exchange, r *http.Request, by audit.Actor) {
	if len(by.User.Permissions[schema.PermView]) == 0 {
		x.problem(http.StatusForbidden, "user "+by.Name+" lacks the permission view",
			"give it one for Prometheus in access.cue")
		return
	}
	v := build.ViewerOf(*by.User)
	o, err := s.source.Overview(r.Context(), v)
	if err != nil {
		s.log.Error("metrics", "error", err)
		x.unavailable()
		return
	}
	rel, _ := s.releases.Now()
	var t metrics.Text
	metrics.Fleet(&t, o, s.live.Table.Cells(v.Filter(hosts.Query{})), rel)
	if c, ok := s.cert.(interface{ Expires() time.Time }); ok {
		metrics.Certificate(&t, c.Expires())
	}
	s.requests.Write(&t, "POST "+schema.PollPath)
	x.Header().Set("Content-Type", metrics.ContentType)
	x.Header().Set("Cache-Control", cacheNever)
	_, _ = t.WriteTo(x) // a peer that is gone is no error of ours
}

// serveReady answers 200 once hosts can be served.
func (s *Server) serveReady(x *exchange, r *http.Request) {
	x.Header().Set("Cache-Control", "no-store")
	if s.inventory.Ping(r.Context()) != nil {
		x.unavailable()
		return
	}
	x.answer(http.StatusOK, map[string]string{"status": "ready"})
}
