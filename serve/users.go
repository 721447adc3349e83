package serve

import (
	"context"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/passhash"
)

// Checking a password is meant to be slow and to take memory, so it is also a way to burn the server's. Four bounds:
// package passhash refuses hashes that cost too much; at most maxHashing are computed at once, on at most half the
// cores; at most maxWaiting requests wait for that; and failures are limited per address and per user. A user's
// allowance refills faster than an address's: one address alone cannot lock a user out.
const (
	maxHashing  = 2
	maxWaiting  = 64
	waitForHash = 10 * time.Second
)

var (
	addressRate = rate{burst: 10, every: 10 * time.Second}
	userRate    = rate{burst: 30, every: 4 * time.Second}
)

// gate checks users' passwords within those bounds.
type gate struct {
	log       *slog.Logger
	hashing   chan struct{}
	waiting   chan struct{}
	addresses *limiter
	names     *limiter

	mu    sync.Mutex
	decoy passhash.Hash // of a password that nobody has, as costly as that of a user
}

func newGate(log *slog.Logger) *gate {
	return &gate{log: log, hashing: make(chan struct{}, min(maxHashing, max(1, runtime.GOMAXPROCS(0)/2))),
		waiting:   make(chan struct{}, maxWaiting),
		addresses: newLimiter(addressRate), names: newLimiter(userRate)}
}

// prepare makes attempts on unknown users cost what those on the user with the most costly hash do, and says which
// users cannot log in.
func (g *gate) prepare(a *schema.Access) {
	var most passhash.Hash
	for name, u := range a.Users {
		h, err := passhash.Parse(u.Hash)
		if err != nil {
			g.log.Warn("nobody can log in as a user", "user", name, "error", err)
		} else if h.Work() > most.Work() {
			most = h
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.decoy = most.Decoy()
}

// check compares a password with that of the user, or with nobody's if there is none. It does the same work in
// either case. ok is false with a wait if no hashing was done: too many failures, or too many at once.
func (g *gate) check(ctx context.Context, a *schema.Access, address, name, given string) (u schema.User, ok bool,
	wait time.Duration) {
	refund, wait := g.take(address, name)
	if wait > 0 {
		return u, false, wait
	}
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		refund()
		return u, false, time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, waitForHash)
	defer cancel()
	select {
	case g.hashing <- struct{}{}:
		defer func() { <-g.hashing }()
	case <-ctx.Done():
		refund()
		return u, false, time.Second
	}
	g.mu.Lock()
	hash := g.decoy
	g.mu.Unlock()
	u, known := a.Users[name]
	if h, err := passhash.Parse(u.Hash); known && err == nil {
		hash = h
	} else {
		known = false
	}
	if same := hash.Matches([]byte(given)); !same || !known {
		return schema.User{}, false, 0
	}
	refund()
	return u, true, 0
}

// take counts an attempt before it is made, so that many at once cannot overshoot the limit. Only a success, or an
// attempt that was not made, is refunded.
func (g *gate) take(address, name string) (refund func(), wait time.Duration) {
	now := time.Now()
	if wait := g.addresses.take(address, now); wait > 0 {
		return nil, wait
	}
	if wait := g.names.take(name, now); wait > 0 {
		g.addresses.refund(address)
		return nil, wait
	}
	return func() { g.addresses.refund(address); g.names.refund(name) }, 0
}

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
		rel, _ := s.releases.now()
		u, ok, wait := s.users.check(r.Context(), rel.access, address(r), name, given)
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

// address is whom failures are counted against: an IPv4 address, or the /64 that one IPv6 subscriber has.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
