// Package cache keeps what was computed up to a bound of bytes.
package cache

import (
	"container/list"
	"errors"
	"sync"
)

// Cache keeps computed values up to a sum of sizes, the most recently used. A value that several ask for at once is
// computed once; an error is not kept.
type Cache[K comparable, V any] struct {
	mu    sync.Mutex
	limit int64
	size  int64
	slots map[K]*list.Element // of *slot[K, V]
	order *list.List          // most recently used first
}

type slot[K comparable, V any] struct {
	key   K
	ready chan struct{}
	value V
	err   error
	size  int64
}

var errNotComputed = errors.New("not computed")

// New makes an empty cache of at most limit bytes.
func New[K comparable, V any](limit int64) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, slots: map[K]*list.Element{}, order: list.New()}
}

// Get returns the value of key, computed by load if it is not held.
func (c *Cache[K, V]) Get(key K, load func() (value V, size int64, err error)) (V, error) {
	c.mu.Lock()
	if e, ok := c.slots[key]; ok {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		s := e.Value.(*slot[K, V])
		<-s.ready
		return s.value, s.err
	}
	s := &slot[K, V]{key: key, ready: make(chan struct{}), err: errNotComputed} // stays if load panics
	e := c.order.PushFront(s)
	c.slots[key] = e
	c.mu.Unlock()

	defer close(s.ready)
	s.value, s.size, s.err = load()

	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil {
		delete(c.slots, key)
		c.order.Remove(e)
		return s.value, s.err
	}
	c.size += s.size
	for old := c.order.Back(); old != nil && c.size > c.limit; {
		prev := old.Prev()
		if o := old.Value.(*slot[K, V]); o.size > 0 { // 0: still being computed
			c.size -= o.size
			delete(c.slots, o.key)
			c.order.Remove(old)
		}
		old = prev
	}
	return s.value, nil
}
