package front

import (
	"encoding/json"
	"net/http"
	"sync/atomic"

	"bakehouse/schema"
)

// Door answers for a server that is not ready yet: it listens at once, so that a start refuses no connection, and asks
// whoever comes to come again. Once it is open, the server itself answers.
type Door struct{ behind atomic.Pointer[http.Handler] }

// Open has h answer from now on.
func (d *Door) Open(h http.Handler) { d.behind.Store(&h) }

// Soon is how many seconds those wait who came too early: a large release is verified in a few.
const Soon = "5"

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := d.behind.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", Soon)
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(schema.Problem{Error: "the server is starting: the release is being verified",
		Hint: "try again in " + Soon + " seconds"}) // a peer that is gone is no error of ours
}
