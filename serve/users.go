package serve

import (
	"math"
	"net/http"
	"strconv"

	"bakehouse/schema"
	"bakehouse/serve/limit"
)

// asUser lets requests through that carry the name and password of a user of the signed access target.
func (s *Server) asUser(
	next func(x *exchange, r *http.Request, name string, u schema.User),
) func(*exchange, *http.Request) {
	return func(x *exchange, r *http.Request) {
		name, given, ok := r.BasicAuth()
		if !ok || given == "" || schema.CheckName(name) != nil {
			s.refuseUser(x)
			return
		}
		rel, _ := s.releases.Now()
		u, ok, wait := s.users.Check(r.Context(), rel.Access, limit.Address(r.RemoteAddr), name, given)
		switch {
		case wait > 0:
			seconds := int(math.Ceil(wait.Seconds()))
			x.Header().Set("Retry-After", strconv.Itoa(seconds))
			x.problem(http.StatusTooManyRequests, "too many attempts to log in",
				"try again in "+strconv.Itoa(seconds)+" seconds")
		case !ok:
			s.refuseUser(x)
		default:
			x.who = name
			next(x, r, name, u)
		}
	}
}

func (s *Server) refuseUser(x *exchange) {
	x.Header().Set("WWW-Authenticate", `Basic realm="bakehouse"`)
	x.problem(http.StatusUnauthorized, "wrong user or password",
		"users are in the config repo (bakehouse access add) and count once reconcile has published them")
}
