package program

import (
	"net/http"
	"testing"
)

// AtMost bounds what is fetched from one URL.
func (s *Sources) AtMost(n int64) { s.most = n }

// TrustInTest fetches by another transport until the test ends.
func TrustInTest(t *testing.T, transport http.RoundTripper) {
	was := web.Transport
	web.Transport = transport
	t.Cleanup(func() { web.Transport = was })
}
