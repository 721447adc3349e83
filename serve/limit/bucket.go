package limit

import (
	"sync"
	"time"
)

// rate allows burst at once, and one more after every.
type rate struct {
	burst int
	every time.Duration
}

// buckets is a token bucket per key. A bucket is the time at which it is full again, so that a full one, which is the
// same as none, can be forgotten.
type buckets[K comparable] struct {
	rate
	mu   sync.Mutex
	full map[K]time.Time
}

// maxKeys bounds the memory. An attacker with more addresses than that is bounded by the hashing slots alone.
const maxKeys = 20000

func newBuckets[K comparable](r rate) *buckets[K] {
	return &buckets[K]{rate: r, full: map[K]time.Time{}}
}

// take takes a token, or says how long until there is one.
func (b *buckets[K]) take(key K, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := b.full[key]
	if full.Before(now) {
		full = now
	}
	full = full.Add(b.every)
	if wait := full.Sub(now) - time.Duration(b.burst)*b.every; wait > 0 {
		return wait
	}
	if _, held := b.full[key]; !held && len(b.full) >= maxKeys {
		b.forget(now)
	}
	b.full[key] = full
	return 0
}

// refund gives a token back.
func (b *buckets[K]) refund(key K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if full, ok := b.full[key]; ok {
		b.full[key] = full.Add(-b.every)
	}
}

// forget drops the full buckets, or an arbitrary one if there is none.
func (b *buckets[K]) forget(now time.Time) {
	for key, full := range b.full {
		if !full.After(now) {
			delete(b.full, key)
		}
	}
	for key := range b.full {
		if len(b.full) < maxKeys {
			return
		}
		delete(b.full, key)
	}
}
