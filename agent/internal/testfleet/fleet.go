// Package testfleet serves a simulated fleet (package trusttest) to the host program under test: a TLS server that a
// test can bend at every point, and packages that a host can really install.
package testfleet

import (
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

// The user who may register hosts.
const (
	User     = "ops"
	Password = "correct horse"
	Token    = "bhj_aaaaaaaaaa_AAAAAAAAAAAAAAAAAAAAAAAAAA" // a join token
)

// Fleet is the publisher and its server. Fields and methods may be used by one test at a time.
type Fleet struct {
	*trusttest.Fleet
	URL string
	CA  []byte // PEM

	t      testing.TB
	server *httptest.Server

	mu       sync.Mutex // of what the server reads, all of Fleet too
	head     []byte     // newest timestamp
	version  int64      // of head
	secrets  map[string]string
	reports  []schema.PollRequest
	requests []string
	hold     string
	holdCode string
	next     int64
	called   map[string]string // names by which hosts are called
	presents *tls.Config       // nil: the certificate that CA is
	bend     func(http.ResponseWriter, *http.Request) bool
	bring    func([]schema.PollFile) []schema.PollFile
}

// New makes a fleet without hosts, and serves it until the test ends. Its clock stands still.
func New(t testing.TB) *Fleet {
	t.Helper()
	return NewAt(t, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
}

// NewAt is New at a given time.
func NewAt(t testing.TB, now time.Time) *Fleet {
	t.Helper()
	f := &Fleet{Fleet: trusttest.NewFleet(now, 4), t: t, secrets: map[string]string{},
		called: map[string]string{}}
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.presents, nil
	}}
	f.server.Config.ErrorLog = Discard
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	f.URL = f.server.URL
	f.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})
	f.Publish()
	return f
}

// T is the test that the fleet is of.
func (f *Fleet) T() testing.TB { return f.t }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Now is the clock of the fleet and its hosts.
func (f *Fleet) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Fleet.Now
}

// Pass moves the clock.
func (f *Fleet) Pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Fleet.Now = f.Fleet.Now.Add(d)
}

// Add makes a host known without a package of its own.
func (f *Fleet) Add(hosts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range hosts {
		if _, ok := f.secrets[h]; !ok {
			f.secrets[h] = ""
		}
	}
}

// Give assigns p to the host as the next release, with the package before it as older candidate, and publishes. Each
// bend may change the target's custom data before they are signed.
func (f *Fleet) Give(host string, p *trusttest.Package, bend ...func(*schema.Target)) {
	f.Add(host)
	f.mu.Lock()
	f.Fleet.Give(host, p, bend...)
	f.mu.Unlock()
	f.Publish()
}

// Rename has the fleet list a host under another name, with its former ones, and publishes.
func (f *Fleet) Rename(host, name string, was ...string) {
	f.mu.Lock()
	a := f.Given[host]
	f.Remove(host)
	a.Host, a.Was = name, was
	f.Assign(a)
	f.mu.Unlock()
	f.Publish()
}

// Publish signs the next release, whose policy is issued now.
func (f *Fleet) Publish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Policy.Issued = f.Fleet.Now
	f.Release()
	f.head, f.version = f.Files["timestamp.json"], f.Timestamp.Signed.Version
}
