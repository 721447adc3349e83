package serve

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"bakehouse/schema"
)

// BenchmarkIdlePoll is one host's idle poll over a kept TLS connection, beside a handler that answers 204 to the same
// request and does nothing else. The ratio says what authentication, the look at the store and the report cost.
func BenchmarkIdlePoll(b *testing.B) {
	f, packs := standardFleet(b)
	w := start(b, f)
	c := w.register("web01")
	body, err := json.Marshal(schema.PollRequest{Schema: schema.WireVersions(), MetadataVersions: held(1, 1),
		Report: usual(packs["web01"])})
	check(b, err)
	nothing := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	nothing.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	nothing.StartTLS()
	b.Cleanup(nothing.Close)
	polls := func(b *testing.B, server *httptest.Server) float64 {
		client := server.Client()
		client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+schema.PollPath, bytes.NewReader(body))
				check(b, err)
				req.SetBasicAuth(c.name, c.secret)
				resp, err := client.Do(req)
				check(b, err)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusNoContent {
					b.Error(resp.Status)
				}
			}
		})
		return float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	}
	var bare float64
	b.Run("answering 204 only", func(b *testing.B) { bare = polls(b, nothing) })
	b.Run("bakehouse", func(b *testing.B) {
		took := polls(b, w.http)
		b.ReportMetric(took/bare, "x-of-bare")
	})
}
