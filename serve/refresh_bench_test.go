package serve

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tufconfig "github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/delta"
)

// BenchmarkHostRefresh is what one host of 100,000 in 1,024 bins asks of the server until it knows its package, by our
// verifier and by go-tuf's own client over the same connection: cold with nothing but the anchor, and warm with the
// release before, since when 20 bins changed, the host's among them. The bytes are those of the answers' bodies as they
// travelled, gzip for both. Ours waits for the disk at each file it keeps, go-tuf's never does: a TMPDIR in memory
// leaves that out of the comparison. Run it with
//
//	go test -run '^$' -bench HostRefresh -count 3 ./serve
func BenchmarkHostRefresh(b *testing.B) {
	const host, hosts, bins = "host04711", 100_000, 1024
	f := newFleetOf(b, bins)
	for i := range hosts {
		f.assignMade(i, 1)
	}
	f.publish()
	w := start(b, f)
	c := w.register(host)
	wire := &counted{RoundTripper: withCredentials{w.http.Client().Transport, c}}
	w.http.Client().Transport.(*http.Transport).DisableCompression = true
	ours, theirs := &ourRefresh{b, w, f, wire, host}, &theirRefresh{b, w, f, wire, host}
	warmOurs, warmTheirs := b.TempDir(), b.TempDir()
	ours.in(warmOurs)
	theirs.in(warmTheirs)

	compare := func(name string, budget int64, before func(from string) string) {
		b.Run(name, func(b *testing.B) {
			var times [2]time.Duration
			var bytes, requests [2]int64
			for range b.N {
				for i, side := range []struct {
					run  func(dir string)
					warm string
				}{{ours.in, warmOurs}, {theirs.in, warmTheirs}} {
					dir := before(side.warm)
					wire.bytes.Store(0)
					wire.requests.Store(0)
					began := time.Now()
					side.run(dir)
					times[i] += time.Since(began)
					bytes[i] += wire.bytes.Load()
					requests[i] += wire.requests.Load()
					check(b, os.RemoveAll(dir))
				}
			}
			n := int64(b.N)
			b.ReportMetric(float64(times[0].Microseconds())/1000/float64(n), "ms")
			b.ReportMetric(float64(bytes[0]/n), "wire-B")
			b.ReportMetric(float64(requests[0]/n), "requests")
			b.ReportMetric(float64(times[1].Microseconds())/1000/float64(n), "go-tuf-ms")
			b.ReportMetric(float64(bytes[1]/n), "go-tuf-wire-B")
			b.ReportMetric(float64(requests[1]/n), "go-tuf-requests")
			b.ReportMetric(float64(bytes[0])/float64(bytes[1]), "x-bytes-of-go-tuf")
			b.ReportMetric(0, "ns/op")
			if bytes[0]/n > budget {
				b.Errorf("%d bytes, budget %d", bytes[0]/n, budget)
			}
		})
	}
	empty := func(string) string {
		dir, err := os.MkdirTemp(b.TempDir(), "")
		check(b, err)
		return dir
	}
	compare("cold", 20<<10, empty)
	for i := range 20 {
		f.assignMade(4711+i*997, 2)
	}
	f.publish()
	check(b, w.server.releases.Follow(b.Context()))
	compare("warm", 3<<10, func(from string) string {
		dir := empty(from)
		check(b, os.CopyFS(dir, os.DirFS(from)))
		return dir
	})
}

// assignMade gives host number i of a made fleet a package that nobody has baked, with all that varies from host to
// host.
func (f *fleet) assignMade(i int, release int64) {
	host := fmt.Sprintf("host%05d", i)
	digest := func(what string) schema.Digest { return schema.DigestOf(fmt.Append(nil, what, host, release)) }
	f.Assign(schema.Assignment{Host: host, SHA256: digest("package"), Length: 10_000_000 + int64(i%997),
		Target: schema.Target{
			Manifest: digest("manifest"), Recipe: schema.RecipeID(schema.DigestOf(fmt.Append(nil, i%2000)).Hex()[:16]),
			Site: fmt.Sprintf("site%02d", i/5000), Ring: fmt.Sprintf("ring%d", i%3), Selected: true, Release: release,
			Since: time.Unix(1700000000+release, 0).UTC()}})
}

// counted counts what travels, and undoes gzip for whoever did not ask for it.
type counted struct {
	http.RoundTripper
	bytes, requests atomic.Int64
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	ours := r.Header.Get("Accept-Encoding") != ""
	if !ours {
		r = r.Clone(r.Context())
		r.Header.Set("Accept-Encoding", "gzip")
	}
	a, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.requests.Add(1)
	a.Body = &countedBody{a.Body, c}
	if !ours && a.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(a.Body)
		if err != nil {
			return nil, err
		}
		a.Header.Del("Content-Encoding")
		a.Header.Del("Content-Length")
		a.ContentLength, a.Body = -1, struct {
			io.Reader
			io.Closer
		}{z, a.Body}
	}
	return a, nil
}

type countedBody struct {
	io.ReadCloser
	c *counted
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.bytes.Add(int64(n))
	return n, err
}

// ourRefresh asks as the host program does: its poll was told that there is no newer root.
type ourRefresh struct {
	b    *testing.B
	w    *site
	f    *fleet
	wire *counted
	host string
}

func (o *ourRefresh) in(dir string) {
	c, err := trust.Open(dir, o.f.Anchor, nil)
	check(o.b, err)
	check(o.b, c.Refresh(o.b.Context(), o, nil))
	a, err := c.Assignment(o.b.Context(), o, o.host)
	check(o.b, err)
	if a.Host != o.host {
		o.b.Fatalf("the package of %s", a.Host)
	}
}

func (o *ourRefresh) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if strings.HasSuffix(name, ".root.json") {
		return nil, fs.ErrNotExist
	}
	b, _, err := o.get(ctx, schema.MetadataPath+name, http.Header{"Accept-Encoding": {"gzip"}}, limit)
	return b, err
}

func (o *ourRefresh) MetadataAgainst(ctx context.Context, name string, version int64, held []byte,
	limit int64) ([]byte, error) {
	b, coding, err := o.get(ctx, schema.MetadataPath+name, http.Header{delta.HaveHeader: {strconv.FormatInt(version, 10)},
		"Accept-Encoding": {"gzip, " + delta.Encoding}}, limit)
	if err != nil || coding != delta.Encoding {
		return b, err
	}
	return delta.Inflate(b, held, limit)
}

func (o *ourRefresh) Tree(context.Context, schema.Digest, int64) ([]byte, error) {
	return nil, fs.ErrNotExist
}

func (o *ourRefresh) Target(ctx context.Context, name string, d schema.Digest, limit int64) ([]byte, error) {
	b, _, err := o.get(ctx, schema.TargetPath+d.Hex()+"."+name, http.Header{"Accept-Encoding": {"gzip"}}, limit)
	return b, err
}

func (o *ourRefresh) get(ctx context.Context, path string, header http.Header, limit int64) ([]byte, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.w.http.URL+path, nil)
	check(o.b, err)
	r.Header = header
	a, err := o.wire.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s: %s", path, a.Status)
	}
	coding, body := a.Header.Get("Content-Encoding"), io.Reader(a.Body)
	if coding == "gzip" {
		if body, err = gzip.NewReader(a.Body); err != nil {
			return nil, "", err
		}
	}
	b, err := io.ReadAll(io.LimitReader(body, limit))
	_, _ = io.Copy(io.Discard, a.Body) // to the end of the answer, or else the connection is not used again
	return b, coding, err
}

// theirRefresh is go-tuf's client.
type theirRefresh ourRefresh

func (o *theirRefresh) in(dir string) {
	config, err := tufconfig.New(o.w.http.URL+schema.MetadataPath, o.f.Anchor)
	check(o.b, err)
	check(o.b, config.SetDefaultFetcherTransport(o.wire))
	check(o.b, config.SetDefaultFetcherRetry(time.Millisecond, 1)) // it would repeat the 404 of the next root for seconds
	config.LocalMetadataDir, config.LocalTargetsDir = dir, dir
	client, err := updater.New(config)
	check(o.b, err)
	check(o.b, client.Refresh())
	t, err := client.GetTargetInfo(schema.PackageTarget(o.host))
	check(o.b, err)
	if t.Length == 0 {
		o.b.Fatal("no package")
	}
}
