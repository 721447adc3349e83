package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

const (
	stallLimit  = 30 * time.Second // without a byte, unless Options.Stall says otherwise
	slowestRate = 1 << 10          // bytes per second, on the whole of an answer
)

// client speaks to one server. Redirects are not followed: the credentials and the authority are for this server.
type client struct {
	base     string
	user     string // host, or the registering user
	password string
	version  string
	http     *http.Client
	now      func() time.Time
	stall    time.Duration
	fetched  *atomic.Int64 // body bytes read
}

// newClient makes a client for a server that certificates vouch for at the time now, or else the public authorities.
func newClient(base string, certificates []string, proxy schema.Proxy, version string, now func() time.Time) (*client, error) {
	via, err := proxyFunc(proxy)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Time: now}
	if len(certificates) > 0 {
		conf.RootCAs = x509.NewCertPool()
		for _, p := range certificates {
			certs, err := parseCertificates(p)
			if err != nil {
				return nil, err
			}
			for _, c := range certs {
				conf.RootCAs.AddCert(c)
			}
		}
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second}
	return &client{base: strings.TrimSuffix(base, "/"), version: version, now: now, stall: stallLimit, fetched: new(atomic.Int64), http: &http.Client{
		Transport: &http.Transport{
			Proxy: via, DialContext: dialer.DialContext, TLSClientConfig: conf, TLSHandshakeTimeout: 15 * time.Second,
			ResponseHeaderTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, MaxIdleConns: 2,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

func proxyFunc(p schema.Proxy) (func(*http.Request) (*url.URL, error), error) {
	switch p.Mode {
	case "", "none":
		return nil, nil
	case "environment":
		return http.ProxyFromEnvironment, nil
	case "explicit":
		u, err := url.Parse(p.URL)
		// The URL may hold a password, and url.Error repeats it.
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" && u.Scheme != "socks5h" {
			return nil, errors.New("proxy: the URL is not of a form such as http://proxy.example:3128 or socks5://…")
		}
		return http.ProxyURL(u), nil
	}
	return nil, fmt.Errorf("proxy: mode %.40q is none of none, environment and explicit", p.Mode)
}

// answer is an open response. Its Body enforces the time limits and counts.
type answer struct {
	*http.Response
	limit int64
}

// do sends a request and returns the answer if its status is one of ok; the caller closes its Body. Other statuses
// become a *statusError. limit is the most bytes of body that the caller will read.
func (c *client) do(ctx context.Context, method, path string, header http.Header, body []byte, limit int64, ok ...int) (*answer, error) {
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "bakehouse-agent/"+c.version)
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	res, err := c.http.Do(req)
	if err != nil {
		cancel(nil)
		return nil, c.explain(parent, err)
	}
	whole := 2*c.stall + time.Duration(limit/slowestRate)*time.Second
	b := guard(ctx, cancel, res.Body, c.fetched, c.stall, whole)
	res.Body = b
	for _, s := range ok {
		if res.StatusCode == s {
			return &answer{res, limit}, nil
		}
	}
	defer b.Close()
	return nil, c.problem(res)
}

// read reads the whole body, gunzipped if the server says so, refusing more than the limit either way.
func (a *answer) read() ([]byte, error) {
	var r io.Reader = io.LimitReader(a.Body, a.limit+1)
	if a.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = io.LimitReader(z, a.limit+1)
	}
	b, err := io.ReadAll(r)
	if err == nil && int64(len(b)) > a.limit {
		err = fault.Refuse(fmt.Errorf("%s: the answer is longer than %d bytes", a.Request.URL.Path, a.limit),
			"the server, or something on the way, sends data without end")
	}
	return b, err
}

// get reads a small object.
func (c *client) get(ctx context.Context, path string, header http.Header, limit int64) ([]byte, error) {
	a, err := c.do(ctx, http.MethodGet, path, header, nil, limit, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	return a.read()
}

// post sends and receives JSON; found is false for a 204.
func (c *client) post(ctx context.Context, path string, in, out any) (found bool, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return false, err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	a, err := c.do(ctx, http.MethodPost, path, h, body, schema.MaxWire, http.StatusOK, http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return false, err
	}
	defer a.Body.Close()
	if a.StatusCode == http.StatusNoContent {
		return false, nil
	}
	b, err := a.read()
	if err != nil {
		return false, err
	}
	if err := schema.Decode(b, out); err != nil {
		return false, fmt.Errorf("the answer of %s%s: %w", c.base, path, err)
	}
	return true, nil
}

// statusError is an answer that is not a success. Its message is the server's, so it is cleaned and shortened.
type statusError struct {
	Status  int
	Path    string
	Message string

	location *url.URL // of a redirect
}

func (e *statusError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("%s: the server answered %d %s", e.Path, e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("%s: the server answered %d: %s", e.Path, e.Status, e.Message)
}

func (e *statusError) Is(target error) bool {
	return target == fs.ErrNotExist && e.Status == http.StatusNotFound
}

func (c *client) problem(res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 8<<10))
	var p schema.Problem
	if schema.Decode(b, &p) != nil {
		p = schema.Problem{}
	}
	e := &statusError{Status: res.StatusCode, Path: clean(res.Request.URL.Path), Message: clean(p.Error), location: location(res)}
	if e.location != nil {
		e.Message = "redirects to " + place(e.location) + ", which is not followed"
	}
	if p.Hint != "" {
		return fault.Hint(e, "%s", clean(p.Hint))
	}
	return e
}

// clean makes a server's text safe to print.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0xfffd || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

var errStalled = errors.New("the server sends too slowly")

// guardedBody ends a body that stalls or trickles, and counts what is read.
type guardedBody struct {
	body         io.ReadCloser
	ctx          context.Context
	cancel       context.CancelCauseFunc
	patience     time.Duration // without a byte
	stall, whole *time.Timer
	count        *atomic.Int64
}

// guard ends body by cancel when it yields nothing for stall, or is not at its end after whole.
func guard(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, count *atomic.Int64, stall, whole time.Duration) *guardedBody {
	tooSlow := func() { cancel(errStalled) }
	return &guardedBody{body: body, ctx: ctx, cancel: cancel, patience: stall, count: count,
		stall: time.AfterFunc(stall, tooSlow), whole: time.AfterFunc(whole, tooSlow)}
}

func (g *guardedBody) Read(p []byte) (int, error) {
	n, err := g.body.Read(p)
	g.count.Add(int64(n))
	if n > 0 {
		g.stall.Reset(g.patience)
	}
	// An end that comes after we gave up is none: a server that notices may end its answer in order before we are gone.
	if cause := context.Cause(g.ctx); err != nil && cause != nil {
		return n, &unreachableError{cause}
	}
	if err != nil && err != io.EOF {
		err = &unreachableError{err}
	}
	return n, err
}

func (g *guardedBody) Close() error {
	g.stall.Stop()
	g.whole.Stop()
	err := g.body.Close()
	g.cancel(nil)
	return err
}
