package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// peer is a server to ask. Both are asked with the same key exchange.
type peer struct {
	address string
	tls     *tls.Config
}

func newPeer(address string, ca []byte) (*peer, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("no certificate of the authority")
	}
	return &peer{address, &tls.Config{RootCAs: pool, ServerName: "localhost",
		CurvePreferences: []tls.CurveID{tls.X25519}, MinVersion: tls.VersionTLS13}}, nil
}

// conn is a connection, one request at a time.
type conn struct {
	*tls.Conn
	in *bufio.Reader
}

func (p *peer) dial(ctx context.Context) (*conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, p.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return &conn{c, bufio.NewReaderSize(c, 64<<10)}, nil
}

// answer is what counts of one.
type answer struct {
	status int
	header textproto.MIMEHeader
	body   []byte // nil if it was dropped
	length int64
}

// ask sends a request and reads its answer; of the body only the length is told unless keep is set.
func (c *conn) ask(request []byte, keep bool) (a answer, err error) {
	if _, err := c.Write(request); err != nil {
		return a, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	fields := bytes.Fields(line)
	if len(fields) < 2 {
		return a, fmt.Errorf("answer %q", line)
	}
	if a.status, err = strconv.Atoi(string(fields[1])); err != nil {
		return a, err
	}
	if a.header, err = textproto.NewReader(c.in).ReadMIMEHeader(); err != nil {
		return a, err
	}
	if strings.EqualFold(a.header.Get("Transfer-Encoding"), "chunked") {
		return a, c.chunks(&a, keep)
	}
	if a.length, _ = strconv.ParseInt(a.header.Get("Content-Length"), 10, 64); a.length == 0 {
		return a, nil
	}
	if keep {
		a.body = make([]byte, a.length)
		_, err = io.ReadFull(c.in, a.body)
		return a, err
	}
	_, err = io.CopyN(io.Discard, c.in, a.length)
	return a, err
}

// chunks reads a body that comes in chunks, without trailers.
func (c *conn) chunks(a *answer, keep bool) error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(line)), 16, 64)
		if err != nil {
			return err
		}
		part := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, part); err != nil {
			return err
		}
		if a.length += n; n == 0 {
			return nil
		}
		if keep {
			a.body = append(a.body, part[:n]...)
		}
	}
}

func basic(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
}

// task is what clients ask over and over, the n-th time.
type task struct {
	to      *peer
	request func(n int) []byte
	status  int  // of every answer; 0: any that is no error
	fresh   bool // each request over a connection of its own
}

// outcome is what came of a task.
type outcome struct {
	answers, bytes int64
	took           time.Duration
	waits          []time.Duration // sorted: from when each was due, or was sent if none was due, to its answer
}

func (o outcome) rate() float64 { return float64(o.answers) / o.took.Seconds() }

// at is a quantile of the waits.
func (o outcome) at(q float64) time.Duration {
	if len(o.waits) == 0 {
		return 0
	}
	return o.waits[min(len(o.waits)-1, int(q*float64(len(o.waits))))]
}

// drive has clients at work for that long, or until all have asked count times. rate bounds the requests a second: each
// is due at its time, however late the one before was answered; 0: as many as there are.
func (t task) drive(ctx context.Context, clients int, each time.Duration, count int64, rate float64) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, bytes atomic.Int64
	var mu sync.Mutex
	var o outcome
	var wg sync.WaitGroup
	start := time.Now()
	for range clients {
		wg.Go(func() {
			waits, err := t.client(ctx, start, &next, &bytes, each, count, rate)
			if err != nil {
				cancel(err)
			}
			mu.Lock()
			defer mu.Unlock()
			o.waits = append(o.waits, waits...)
		})
	}
	wg.Wait()
	o.took, o.answers, o.bytes = time.Since(start), int64(len(o.waits)), bytes.Load()
	slices.Sort(o.waits)
	return o, context.Cause(ctx)
}

func (t task) client(ctx context.Context, start time.Time, next, total *atomic.Int64, each time.Duration, count int64,
	rate float64) (waits []time.Duration, err error) {
	var c *conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for ctx.Err() == nil {
		n := next.Add(1) - 1
		due := time.Now()
		if rate > 0 {
			due = start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
		}
		if count > 0 && n >= count || count == 0 && due.Sub(start) >= each {
			return waits, nil
		}
		if c == nil {
			if c, err = t.to.dial(ctx); err != nil {
				return waits, err
			}
		}
		a, err := c.ask(t.request(int(n)), false)
		if err != nil {
			return waits, err
		}
		if t.status == 0 && a.status/100 != 2 || t.status != 0 && a.status != t.status {
			return waits, fmt.Errorf("answer %d", a.status)
		}
		total.Add(a.length)
		waits = append(waits, time.Since(due))
		if t.fresh {
			c.Close()
			c = nil
		}
	}
	return waits, nil
}
