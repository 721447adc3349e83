package limit

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

// Connections bounds how many connections are open at a time.
type Connections struct {
	Max     int // in all
	Address int // of one address
}

// Listen is l within those bounds. What is beyond them is closed at once, and the log says so, about once a minute.
func (c Connections) Listen(l net.Listener, log *slog.Logger) net.Listener {
	return &listener{Listener: l, bounds: c, log: log, of: map[string]int{}, said: map[string]*refusals{}}
}

type listener struct {
	net.Listener
	bounds Connections
	log    *slog.Logger

	mu   sync.Mutex
	open int
	of   map[string]int       // connections by address
	said map[string]*refusals // by what was exceeded
}

// refusals are those since the last line in the log.
type refusals struct {
	n    int
	last time.Time
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := Address(c.RemoteAddr().String())
		if l.admit(address) {
			return &conn{Conn: c, end: sync.OnceFunc(func() { l.release(address) })}, nil
		}
		_ = c.Close() // nobody was promised an answer
	}
}

func (l *listener) admit(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.of[address] >= l.bounds.Address:
		l.refuse("connections of one address are refused", "--max-connections-per-address", l.bounds.Address, address)
		return false
	case l.open >= l.bounds.Max:
		l.refuse("connections are refused", "--max-connections", l.bounds.Max, address)
		return false
	}
	l.open++
	l.of[address]++
	return true
}

func (l *listener) release(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.of[address]--; l.of[address] == 0 {
		delete(l.of, address)
	}
}

// refuse logs the first refusal, and then how many there were, once a minute.
func (l *listener) refuse(what, flag string, most int, address string) {
	r := l.said[flag]
	if r == nil {
		r = &refusals{}
		l.said[flag] = r
	}
	r.n++
	if now := time.Now(); now.Sub(r.last) >= time.Minute {
		l.log.Warn(what, "refused", r.n, "open", l.open, "limit", most, "address", address, "hint",
			"find out what keeps them open; if they are rightful, raise "+flag)
		*r = refusals{last: now}
	}
}

type conn struct {
	net.Conn
	end func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.end()
	return c.Conn.Close()
}

// MaxConnections is what a server has room for unless its operator says otherwise.
const MaxConnections = 8192

// Fit lowers Max to what the process may have open, and sets Address to a quarter of Max if it is 0. lowered says that
// Max was more than there is room for.
func (c Connections) Fit() (fit Connections, lowered bool) {
	if files := maxFiles(); files > 0 && uint64(c.Max) > files/4*3 { // objects and the database need some, too
		c.Max, lowered = int(files/4*3), true
	}
	if c.Address == 0 {
		c.Address = max(1, c.Max/4)
	}
	return c, lowered
}
