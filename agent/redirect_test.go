package agent

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// origin is a server that has a package's segment, and notes who asked for it.
type origin struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
}

func newOrigin(t *testing.T, p *trusttest.Package, bend func(http.ResponseWriter, *http.Request) bool) *origin {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked = append(o.asked, r)
		o.mu.Unlock()
		if bend == nil || !bend(w, r) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.Bytes[:p.Manifest.Segments()[0].Size]))
		}
	}))
	o.Config.ErrorLog = testfleet.Discard
	o.StartTLS()
	t.Cleanup(o.Close)
	return o
}

func (o *origin) requests() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func (o *origin) certificate() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw}))
}

// sending makes f's server redirect whatever is below path.
func sending(f *testfleet.Fleet, path, to string) {
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, path) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return true
		}
		return false
	})
}

func TestSegmentsComeFromAnOriginThatSignedPolicyNamesWithoutCredentials(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	cut := true
	cdn := newOrigin(t, p, func(w http.ResponseWriter, r *http.Request) bool {
		if cut {
			cut = false
			w.Header().Set("Content-Length", "100000")
			w.Write(p.Bytes[:1000])
			return true // and the connection ends
		}
		return false
	})
	f.Policy.Downloads = &schema.Downloads{Origins: []string{cdn.URL}, Certificates: cdn.certificate()}
	f.Give("web01", p)
	sending(f, schema.SegmentPath, cdn.URL+"/bucket/object?signature=secret-token")
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeUnreachable {
		t.Fatalf("the first attempt: %v, %s", err, r)
	}
	h.update()
	h.runs("two")
	asked := cdn.requests()
	if len(asked) != 2 || asked[1].Header.Get("Range") != "bytes=1000-" {
		t.Fatalf("%d requests, the last for %q", len(asked), asked[len(asked)-1].Header.Get("Range"))
	}
	for _, r := range asked {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" ||
			r.URL.RawQuery != "signature=secret-token" {
			t.Errorf("the origin was asked for %s with %v", r.URL, r.Header)
		}
	}
	if strings.Contains(h.said.String(), "secret-token") ||
		strings.Contains(h.reads(schema.StateDir(runtime.GOOS)+"/agent.log"), "secret-token") {
		t.Error("the signature in the URL, by which anybody can fetch, is in the log")
	}
	if first := h.stateOf().Fetched; first < p.Manifest.Segments()[0].Size-1000 {
		t.Errorf("%d bytes are said to be fetched", first)
	}
}

func TestARedirectToAnywhereElseIsRefusedByName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to   func(cdn *origin) string
		say  string
		asks bool
	}{
		"another origin": {func(cdn *origin) string { return "https://evil.example/x?token=secret" },
			"the server redirects to https://evil.example, which is not an origin that signed policy names", false},
		"plain HTTP": {func(cdn *origin) string { return strings.Replace(cdn.URL, "https", "http", 1) },
			"which is not https", false},
		"a file": {func(*origin) string { return "file://localhost/etc/passwd" }, "which is not https", false},
		"with a password": {func(cdn *origin) string { return strings.Replace(cdn.URL, "//", "//user:secret@", 1) },
			"gives a user and password", false},
		"the server itself": {func(*origin) string { return "/v1/elsewhere" }, "which is not an origin", false},
		"a second hop": {func(cdn *origin) string { return cdn.URL + "/hop" }, "one redirect is followed, no more",
			true},
	} {
		t.Run(name, func(t *testing.T) {
			f, h, p := attacked(t)
			cdn := newOrigin(t, p, func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/hop" {
					http.Redirect(w, r, "/object", http.StatusFound)
				}
				return r.URL.Path == "/hop"
			})
			f.Policy.Downloads = &schema.Downloads{Origins: []string{cdn.URL}, Certificates: cdn.certificate()}
			f.Give("web01", p)
			sending(f, schema.SegmentPath, c.to(cdn))
			r := h.refused(c.say)
			if strings.Contains(r.Error, "secret") {
				t.Errorf("%s tells a secret", r.Error)
			}
			if asked := len(cdn.requests()); asked != 0 != c.asks {
				t.Errorf("the origin was asked %d times", asked)
			}
			h.recovers(f, "two")
		})
	}
}

func TestAnOriginIsBelievedByItsOwnCertificatesOnly(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	cdn := newOrigin(t, p, nil)
	// Without certificates of its own, public authorities vouch for it: not the one of the host's server.
	f.Policy.Downloads = &schema.Downloads{Origins: []string{cdn.URL}}
	f.Give("web01", p)
	sending(f, schema.SegmentPath, cdn.URL+"/x")
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.Code != outcome.CodeUnreachable || !strings.Contains(err.Error(), cdn.URL) ||
		!strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("%v, %s", err, r)
	}
	h.runs("one")
	h.recovers(f, "two")
}

func TestWhatAnOriginAlteredIsRefused(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	cdn := newOrigin(t, p, func(w http.ResponseWriter, r *http.Request) bool {
		w.Write(bytes.Repeat([]byte("x"), int(p.Manifest.Segments()[0].Size)))
		return true
	})
	f.Policy.Downloads = &schema.Downloads{Origins: []string{cdn.URL}, Certificates: cdn.certificate()}
	f.Give("web01", p)
	sending(f, schema.SegmentPath, cdn.URL+"/x")
	h.refused("segment")
	h.recovers(f, "two")
}

// A host polls, reads metadata, manifests and statements at its server only: those are where its secret goes, and
// small.
func TestNothingButSegmentsIsFetchedElsewhere(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"poll": schema.PollPath, "metadata": schema.MetadataPath,
		"manifest": schema.ManifestPath} {
		t.Run(name, func(t *testing.T) {
			f, h, p := attacked(t)
			cdn := newOrigin(t, p, nil)
			f.Policy.Downloads = &schema.Downloads{Origins: []string{cdn.URL}, Certificates: cdn.certificate()}
			f.Give("web01", p)
			sending(f, path, cdn.URL+"/x")
			r, err := h.Update(t.Context(), UpdateOptions{})
			if err == nil || !strings.Contains(err.Error(), "redirects to "+cdn.URL+", which is not followed") ||
				len(cdn.requests()) > 0 {
				t.Errorf("%v, %s, the origin was asked %d times", err, r, len(cdn.requests()))
			}
			h.runs("one")
			h.recovers(f, "two")
		})
	}
}
