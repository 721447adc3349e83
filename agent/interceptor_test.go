package agent

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

// interceptor is between a host and its server: bytes go through as they are, until it shows a certificate of its own
// and keeps what it then reads.
type interceptor struct {
	URL string

	mu   sync.Mutex
	cert *tls.Certificate
	got  bytes.Buffer // all that it got over its own TLS
	bend func(http.ResponseWriter, *http.Request) bool
}

func intercept(t *testing.T, f *testfleet.Fleet) *interceptor {
	t.Helper()
	server := strings.TrimPrefix(f.URL, "https://")
	forward := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
	t.Cleanup(forward.CloseIdleConnections)
	i := &interceptor{}
	own := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		bend := i.bend
		i.mu.Unlock()
		if bend != nil && bend(w, r) {
			return
		}
		q := r.Clone(r.Context())
		q.RequestURI, q.URL.Scheme, q.URL.Host = "", "https", server
		res, err := forward.RoundTrip(q)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		io.Copy(w, res.Body)
	}))
	own.Config.ErrorLog = testfleet.Discard
	inner := own.Listener
	ready := &handed{Listener: inner, conns: make(chan net.Conn), done: make(chan struct{})}
	own.Listener = ready
	own.Start()
	t.Cleanup(own.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	i.URL = "https://" + l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			i.mu.Lock()
			cert := i.cert
			i.mu.Unlock()
			if cert != nil {
				ready.hand(tls.Server(&kept{Conn: c, i: i}, &tls.Config{Certificates: []tls.Certificate{*cert}}), i)
				continue
			}
			go func() {
				defer c.Close()
				to, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer to.Close()
				go io.Copy(to, c)
				io.Copy(c, to)
			}()
		}
	}()
	return i
}

// handed is a listener that is given its connections.
type handed struct {
	net.Listener
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.once.Do(func() { close(h.done) })
	return h.Listener.Close()
}

func (h *handed) hand(c *tls.Conn, i *interceptor) {
	select {
	case h.conns <- &plaintext{c, i}:
	case <-h.done:
		c.Close()
	}
}

// kept is a connection as it comes: what is said in the clear, such as the name of the server, is kept.
type kept struct {
	net.Conn
	i *interceptor
}

func (k *kept) Read(b []byte) (int, error) {
	n, err := k.Conn.Read(b)
	k.i.keep(b[:n])
	return n, err
}

// plaintext keeps what was said in TLS.
type plaintext struct {
	*tls.Conn
	i *interceptor
}

func (p *plaintext) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.i.keep(b[:n])
	return n, err
}

func (i *interceptor) keep(b []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got.Write(b)
}

// show makes it intercept with that certificate; nil: it lets everything through.
func (i *interceptor) show(c *tls.Certificate, bend func(http.ResponseWriter, *http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cert, i.bend = c, bend
}

func (i *interceptor) all() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.got.String()
}

// secretFree checks that nothing of the host is in what somebody got.
func (h *host) secretFree(got string) {
	h.t.Helper()
	r := h.stateOf().Registration
	secret := base64.StdEncoding.EncodeToString([]byte(r.Host + ":" + r.Secret))
	for what, text := range map[string]string{"its secret": r.Secret, "its name": r.Host,
		"credentials": "Authorization", "credentials in base64": secret,
		"a report": "POST", "its program's version": "1.2.3", "what it has installed": "installed"} {
		if strings.Contains(got, text) {
			h.t.Errorf("%s went over a connection that is not verified:\n%s", what, got)
		}
	}
}

// intercepted is a host that reaches its fleet through somebody in between, and is offered release 2.
func intercepted(t *testing.T) (*testfleet.Fleet, *host, *interceptor, tls.Certificate) {
	t.Helper()
	f := testfleet.New(t)
	i := intercept(t, f)
	f.URL = i.URL
	h := registered(t, f, "web01")
	central(f, f.URL, f.CA)
	f.Give("web01", version(f, "one"))
	h.update()
	h.update()
	_, cert := shown(t, f, "Interceptor")
	f.Give("web01", version(f, "two"))
	return f, h, i, cert
}

func TestAnInterceptorOfTLSGetsNoSecretNoReportAndNoNameOfTheHost(t *testing.T) {
	t.Parallel()
	f, h, i, cert := intercepted(t)
	i.show(&cert, nil)
	for range 3 {
		r, err := h.Update(t.Context(), UpdateOptions{})
		if err == nil || r.Code != outcome.CodeUnreachable ||
			!strings.Contains(err.Error(), "by an unknown authority") {
			t.Fatalf("%v, %s", err, r)
		}
	}
	h.runs("one")
	got := i.all()
	h.secretFree(got)
	for _, want := range []string{"GET /v1/metadata/2.root.json", "GET /v1/metadata/timestamp.json", ".snapshot.json",
		".targets.json"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s was not asked for, so this shows nothing:\n%s", want, got)
		}
	}
	for _, more := range []string{"bin-", schema.ManifestPath, schema.SegmentPath} {
		if strings.Contains(got, more) {
			t.Errorf("more than metadata up to the policy was asked for:\n%s", got)
		}
	}
	i.show(nil, nil)
	h.recovers(f, "two")
}

// It could say nothing at all. That is the most that it gets by saying something.
func TestWhatAnInterceptorOfTLSAnswersIsBelievedForItsSignaturesOnly(t *testing.T) {
	t.Parallel()
	type bend = func(http.ResponseWriter, *http.Request) bool
	for name, attack := range map[string]func(f *testfleet.Fleet, ca []byte) bend{
		"an older state": func(f *testfleet.Fleet, _ []byte) bend {
			old := f.Files["1.targets.json"]
			head := f.Head()
			f.Publish()
			return func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.HasSuffix(r.URL.Path, "/timestamp.json"):
					w.Write(head)
				case strings.HasSuffix(r.URL.Path, ".targets.json"):
					w.Write(old)
				default:
					return false
				}
				return true
			}
		},
		"a policy with its own authority": func(f *testfleet.Fleet, ca []byte) bend {
			p := f.Policy
			p.Sites = map[string]schema.Site{schema.CentralSite: {URL: f.URL, Certificates: string(ca)}}
			forged, _ := json.Marshal(p)
			return func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, ".policy") {
					w.Write(forged)
					return true
				}
				return false
			}
		},
		"a whole fleet of its own": func(f *testfleet.Fleet, ca []byte) bend {
			theirs := testfleet.New(f.T())
			theirs.Policy.Sites = map[string]schema.Site{schema.CentralSite: {URL: f.URL, Certificates: string(ca)}}
			for range 5 {
				theirs.Publish()
			}
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == schema.MetadataPath+"timestamp.json" {
					w.Write(theirs.Head())
					return true
				}
				if b, ok := theirs.Files[r.URL.Path[len(schema.MetadataPath):]]; ok {
					w.Write(b)
					return true
				}
				return false
			}
		},
		"garbage": func(*testfleet.Fleet, []byte) bend {
			return func(w http.ResponseWriter, r *http.Request) bool {
				w.Write([]byte(`{"signed":{"_type":"root","version":2,"roles":{"root":null}},"signatures":[null]}`))
				return true
			}
		},
		"endless data": func(*testfleet.Fleet, []byte) bend {
			return func(w http.ResponseWriter, r *http.Request) bool {
				line := bytes.Repeat([]byte("x"), 64<<10)
				for {
					if _, err := w.Write(line); err != nil {
						return true
					}
				}
			}
		},
		"the page of a portal": func(*testfleet.Fleet, []byte) bend {
			return func(w http.ResponseWriter, r *http.Request) bool {
				w.Write([]byte("<html>log in"))
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs.Alike(t)
			f, h, i, cert := intercepted(t)
			root, timestamp := h.stateOf().Root, h.stateOf().Timestamp
			ca, _ := shown(t, f, "Interceptor")
			i.show(&cert, attack(f, ca))
			for range 2 {
				if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeUnreachable {
					t.Fatalf("%v, %s", err, r)
				}
			}
			h.runs("one")
			h.secretFree(i.all())
			s := h.stateOf()
			if s.Root < root || s.Timestamp < timestamp || s.Worked == nil || s.Site == nil ||
				!slices.Equal(s.Site.Certificates, []string{string(f.CA)}) {
				t.Errorf("root %d, timestamp %d, site %+v, way %v", s.Root, s.Timestamp, s.Site, s.Worked)
			}
			i.show(nil, nil)
			h.recovers(f, "two")
		})
	}
}
