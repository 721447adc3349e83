package limit

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/passhash"
)

// Checking a password is meant to be slow and to take memory, so it is also a way to burn the server's. The bounds:
// package passhash refuses hashes that cost too much; at most maxHashing are computed at once, on at most half the
// cores; at most maxWaiting wait for that, waitingShare of them from one address; and failures are limited per address
// and user, so that whoever guesses locks out nobody but that user at that address.
const (
	maxHashing   = 2
	maxWaiting   = 64
	waitingShare = 16
	waitForHash  = 10 * time.Second
	soon         = time.Second // when to come again if there was no room
)

// What was right needs no hashing for a while: a site's hosts register with one automation user, all in a minute.
const (
	rememberedFor = 5 * time.Minute
	maxRemembered = 1000
)

var failureRate = rate{burst: 10, every: 10 * time.Second}

// Gate checks users' passwords within those bounds. Make it with NewGate.
type Gate struct {
	log      *slog.Logger
	key      [sha256.Size]byte // of credentials, so that no password and no hash that could be guessed from is kept
	hashing  chan struct{}
	failures *buckets[login]

	mu         sync.Mutex
	decoy      passhash.Hash // of a password that nobody has, as costly as that of a user
	remembered map[credential]time.Time
	attempts   map[credential]*attempt // being waited for or hashed
	waiting    map[string]int          // attempts by the address that began them
	hashed     int                     // how many hashes were computed
}

// login is what failures are counted by.
type login struct{ address, user string }

// credential is a user's name, the hash that it is compared with, and a password, under the gate's key.
type credential [sha256.Size]byte

// attempt is one comparison, for all who try the same at the same time.
type attempt struct {
	who   map[login]bool
	done  chan struct{}
	right bool
	given bool // up: no slot became free in time
}

// NewGate makes a gate that remembers nobody.
func NewGate(log *slog.Logger) *Gate {
	g := &Gate{log: log, hashing: make(chan struct{}, min(maxHashing, max(1, runtime.GOMAXPROCS(0)/2))),
		failures: newBuckets[login](failureRate), remembered: map[credential]time.Time{},
		attempts: map[credential]*attempt{}, waiting: map[string]int{}}
	_, _ = rand.Read(g.key[:]) // never fails
	return g
}

// Prepare makes attempts on unknown users cost what those on the user with the most costly hash do, and says which
// users cannot log in.
func (g *Gate) Prepare(a *schema.Access) {
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

// Check compares a password with that of the user, or with nobody's if there is none. It does the same work in
// either case. ok is false with a wait if nothing was compared: too many failures, or too many at once.
func (g *Gate) Check(ctx context.Context, a *schema.Access, address, name, password string) (u schema.User, ok bool,
	wait time.Duration) {
	u = a.Users[name]
	who, what := login{address, name}, g.credential(name, u.Hash, password)
	at, wait := g.begin(who, what, u.Hash, password)
	if at == nil {
		return u, wait == 0, wait
	}
	select {
	case <-at.done:
	case <-ctx.Done():
		return schema.User{}, false, soon
	}
	switch {
	case at.right:
		return u, true, 0
	case at.given:
		return schema.User{}, false, soon
	}
	return schema.User{}, false, 0
}

// begin returns the attempt to wait for. It is nil with a wait if there is no room for one, and without if none is
// needed: the credential was right a moment ago.
func (g *Gate) begin(who login, what credential, hash, password string) (*attempt, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Before(g.remembered[what]) {
		return nil, 0
	}
	if at := g.attempts[what]; at != nil {
		at.who[who] = true
		return at, 0
	}
	if len(g.attempts) >= maxWaiting || g.waiting[who.address] >= waitingShare {
		return nil, soon
	}
	// Taken before it is known to fail, so that many at once cannot overshoot the limit.
	if wait := g.failures.take(who, now); wait > 0 {
		return nil, wait
	}
	at := &attempt{who: map[login]bool{who: true}, done: make(chan struct{})}
	g.attempts[what] = at
	g.waiting[who.address]++
	// Not by the request that came first: its end must not end it for the others.
	go g.compare(at, who, what, hash, password)
	return at, 0
}

// compare decides an attempt. Only failures cost those who made it a token.
func (g *Gate) compare(at *attempt, first login, what credential, hash, password string) {
	timer := time.NewTimer(waitForHash)
	defer timer.Stop()
	select {
	case g.hashing <- struct{}{}:
		at.right = g.matches(hash, password)
		<-g.hashing
	case <-timer.C:
		at.given = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.attempts, what)
	if g.waiting[first.address]--; g.waiting[first.address] == 0 {
		delete(g.waiting, first.address)
	}
	now := time.Now()
	switch {
	case at.right:
		g.remember(what, now)
		g.failures.refund(first)
	case at.given:
		g.failures.refund(first)
	default:
		for who := range at.who {
			if who != first {
				g.failures.take(who, now)
			}
		}
	}
	close(at.done)
}

func (g *Gate) matches(hash, password string) bool {
	g.mu.Lock()
	h := g.decoy
	g.hashed++
	g.mu.Unlock()
	parsed, err := passhash.Parse(hash)
	if err == nil {
		h = parsed
	}
	return h.Matches([]byte(password)) && err == nil
}

// credential binds a password to its user and to the hash of now: with another hash, or without the user, what is
// remembered counts no longer.
func (g *Gate) credential(name, hash, password string) (c credential) {
	m := hmac.New(sha256.New, g.key[:])
	for _, part := range []string{name, hash} {
		sum := sha256.Sum256([]byte(part)) // of a fixed length, so that no two credentials run into one
		m.Write(sum[:])
	}
	m.Write([]byte(password))
	m.Sum(c[:0])
	return c
}

func (g *Gate) remember(what credential, now time.Time) {
	for c, until := range g.remembered {
		if !now.Before(until) || len(g.remembered) >= maxRemembered {
			delete(g.remembered, c)
		}
	}
	g.remembered[what] = now.Add(rememberedFor)
}
