package serve

import (
	"net/http"
	"sync"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/passhash"
)

// A site's hosts that are set up at the same time: 300 registrations at once with one automation user.
func BenchmarkRegister300AtOnce(b *testing.B) {
	f, _ := standardFleet(b)
	hash, err := passhash.New([]byte(password))
	check(b, err)
	f.access.Users["installer"] = schema.User{Hash: hash.String(), Permissions: f.access.Users["installer"].Permissions}
	f.publish()
	for b.Loop() {
		b.StopTimer()
		w := start(b, f)
		b.StartTimer()
		var asking sync.WaitGroup
		for range 300 {
			asking.Go(func() {
				r := w.do(installer, http.MethodPost, schema.RegisterPath, registration("web01"))
				if r.status != http.StatusOK {
					b.Errorf("%d: %s", r.status, r.body)
				}
			})
		}
		asking.Wait()
	}
}
