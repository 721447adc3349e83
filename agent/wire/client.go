package wire

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
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/uplink"
)

const (
	stallLimit  = 30 * time.Second // without a byte, unless Config.Stall says otherwise
	slowestRate = 1 << 10          // bytes per second, on the whole of an answer
)

// Config says which server a client asks, and as whom.
type Config struct {
	Server       string   // base URL
	Certificates []string // PEM: the authorities that vouch for the server; none: the public ones (roots.go)
	Insecure     bool     // believe whoever answers, for a call that somebody asked for so; not for Certificates
	Proxy        schema.Proxy
	Program      string              // for User-Agent, such as bakehouse-agent/1.2
	User         string              // host, or the user that registers one
	Password     string              // without a user: a join token; empty: no credentials are sent
	Now          func() time.Time    // for certificates; nil: time.Now
	Waiting      func(time.Duration) // is told how long a busy server is waited for; may be nil
	Site         string              // for which a site's user speaks; empty: the client is no site's
	Stall        time.Duration       // how long a server may send nothing in the middle of an answer; 0: 30 seconds
}

// Client asks one server. Redirects are not followed: the credentials and the authority are for this server. Segments
// are the exception. A Client is for one goroutine at a time.
type Client struct {
	conf    Config
	base    string
	http    *http.Client
	speaks  schema.Versions
	fetched *atomic.Int64 // body bytes read
	origins []*Client     // that the server redirected to
	host    string        // for which a site asks

	isOrigin bool // one of those: any HTTP server will do
}

// New makes a client. It connects to nothing yet.
func New(conf Config) (*Client, error) {
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Stall == 0 {
		conf.Stall = stallLimit
	}
	proxy, err := proxyOf(conf.Proxy)
	if err != nil {
		return nil, err
	}
	roots, err := conf.roots()
	if err != nil {
		return nil, err
	}
	certs := &tls.Config{MinVersion: tls.VersionTLS12, Time: conf.Now, RootCAs: roots,
		InsecureSkipVerify: conf.Insecure}
	dialer := &net.Dialer{Timeout: 15 * time.Second}
	return &Client{conf: conf, base: strings.TrimSuffix(conf.Server, "/"), speaks: schema.WireVersions(),
		fetched: new(atomic.Int64), http: &http.Client{
			Transport: &http.Transport{
				Proxy: proxy, DialContext: dialer.DialContext, TLSClientConfig: certs,
				TLSHandshakeTimeout: 15 * time.Second, ResponseHeaderTimeout: time.Minute,
				MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, MaxIdleConns: 2,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}, nil
}

// trusted are the authorities that were set for the server: none if the public ones count.
func (conf *Config) trusted() (out []*x509.Certificate) {
	for _, p := range conf.Certificates {
		if certs, err := schema.ParseCertificates(p); err == nil {
			out = append(out, certs...)
		}
	}
	return out
}

// roots are the authorities that vouch for the server, or for a proxy that speaks TLS.
func (conf *Config) roots() (*x509.CertPool, error) {
	if conf.Insecure || strings.HasPrefix(conf.Server, "http:") && conf.Proxy.Mode == "" {
		return x509.NewCertPool(), nil // nobody will ask
	}
	if len(conf.Certificates) == 0 {
		return publicRoots()
	}
	pool := x509.NewCertPool()
	for _, p := range conf.Certificates {
		parsed, err := schema.ParseCertificates(p)
		if err != nil {
			return nil, err
		}
		for _, c := range parsed {
			pool.AddCert(c)
		}
	}
	return pool, nil
}

// Close ends idle connections.
func (c *Client) Close() {
	for _, o := range c.origins {
		o.Close()
	}
	c.http.CloseIdleConnections()
}

// Server is the base URL, without a slash at its end.
func (c *Client) Server() string { return c.base }

// Fetched counts the body bytes that were read so far, from other origins too.
func (c *Client) Fetched() int64 { return c.fetched.Load() }

func proxyOf(p schema.Proxy) (func(*http.Request) (*url.URL, error), error) {
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	switch p.Mode {
	case "environment":
		return http.ProxyFromEnvironment, nil
	case "explicit":
		u, _ := url.Parse(p.URL) // checked
		return http.ProxyURL(u), nil
	}
	return nil, nil
}

// answer is an open response. Its Body enforces the time limits and counts.
type answer struct {
	*http.Response
	limit int64
}

// do sends a request and returns the answer if its status is one of ok; the caller closes its Body. Other statuses
// become a *StatusError. limit is the most bytes of body that the caller will read.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body []byte, limit int64,
	ok ...int) (*answer, error) {
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
	req.Header.Set("User-Agent", c.conf.Program)
	switch {
	case c.conf.User != "":
		req.SetBasicAuth(c.conf.User, c.conf.Password)
	case c.conf.Password != "":
		req.Header.Set("Authorization", "Bearer "+c.conf.Password)
	}
	if c.conf.Site != "" {
		req.Header.Set(uplink.SiteHeader, c.conf.Site)
	}
	if c.host != "" {
		req.Header.Set(uplink.HostHeader, c.host)
	}
	res, err := c.http.Do(req)
	if err != nil {
		cancel(nil)
		return nil, c.explain(parent, err)
	}
	whole := 2*c.conf.Stall + time.Duration(limit/slowestRate)*time.Second
	b := guard(ctx, cancel, res.Body, c.fetched, c.conf.Stall, whole)
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
	var b []byte
	var err error
	if a.Header.Get("Content-Encoding") == "gzip" {
		b, err = gunzip(r, a.limit)
	} else {
		b, err = io.ReadAll(r)
	}
	if err == nil && int64(len(b)) > a.limit {
		err = fault.Refuse(fmt.Errorf("%s: the answer is longer than %d bytes", a.Request.URL.Path, a.limit),
			"the server, or something on the network, sends endless data")
	}
	return b, err
}

// gunzip returns at most a byte more than limit.
func gunzip(r io.Reader, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, limit+1))
}

// get reads a small object.
func (c *Client) get(ctx context.Context, path string, header http.Header, limit int64) ([]byte, error) {
	a, err := c.do(ctx, http.MethodGet, path, header, nil, limit, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	return a.read()
}

// post sends and receives JSON; found is false for a 204.
func (c *Client) post(ctx context.Context, path string, in, out any) (found bool, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return false, err
	}
	h := http.Header{"Content-Type": {"application/json"}, "Accept-Encoding": {"gzip"}}
	a, err := c.do(ctx, http.MethodPost, path, h, body, schema.MaxWire,
		http.StatusOK, http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return false, err
	}
	defer a.Body.Close()
	if a.StatusCode == http.StatusNoContent {
		return false, nil
	}
	b, err := a.read()
	if err == nil {
		err = schema.Decode(b, out)
	}
	if err != nil && !fault.IsRefusal(err) && !errors.Is(err, ErrUnreachable) {
		err = c.notOurs(path, a.Header, err)
	}
	return err == nil, err
}
