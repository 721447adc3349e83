package serve

import (
	"sync"
	"time"
)

// rate allows burst at once, and one more after every.
type rate struct {
	burst int
	every time.Duration
}

// limiter is a token bucket per key. A bucket is the time at which it is full again, so that a full one, which is the
// same as none, can be forgotten.
type limiter struct {
	rate
	mu   sync.Mutex
	full map[string]time.Time
}

// maxKeys bounds a limiter's memory. An attacker with more addresses than that is bounded by the hashing slots alone.
const maxKeys = 20000

func newLimiter(r rate) *limiter { return &limiter{rate: r, full: map[string]time.Time{}} }

// take takes a token, or says how long until there is one.
func (l *limiter) take(key string, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.full[key]
	if full.Before(now) {
		full = now
	}
	full = full.Add(l.every)
	if wait := full.Sub(now) - time.Duration(l.burst)*l.every; wait > 0 {
		return wait
	}
	if _, held := l.full[key]; !held && len(l.full) >= maxKeys {
		l.forget(now)
	}
	l.full[key] = full
	return 0
}

// refund gives a token back.
func (l *limiter) refund(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if full, ok := l.full[key]; ok {
		l.full[key] = full.Add(-l.every)
	}
}

// forget drops the full buckets, or an arbitrary one if there is none.
func (l *limiter) forget(now time.Time) {
	for key, full := range l.full {
		if !full.After(now) {
			delete(l.full, key)
		}
	}
	for key := range l.full {
		if len(l.full) < maxKeys {
			return
		}
		delete(l.full, key)
	}
}
