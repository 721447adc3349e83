package trust

import (
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// start is when the tests' fleets are first published.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// repo is a simulated fleet with three hosts, and clients of it.
type repo struct {
	*trusttest.Fleet
	t testing.TB
}

func newRepo(t testing.TB) *repo {
	t.Helper()
	r := &repo{trusttest.NewFleet(start, 4), t}
	r.Policy.Sites["central"] = schema.Site{URL: "https://bakehouse.example"}
	for _, h := range []string{"web01", "web02", "db01"} {
		r.assign(h, h+" first", 1)
	}
	r.Release()
	return r
}

// top is the metadata of the role targets.
func (r *repo) top() *metadata.Metadata[metadata.TargetsType] { return r.Targets[metadata.TARGETS] }

// rotate makes the next root, in which another key signs the role.
func (r *repo) rotate(role string) {
	r.Rotate(role)
	r.Publish(metadata.ROOT)
}

// assign gives host a package whose bytes are content.
func (r *repo) assign(host, content string, release int64) {
	r.Assign(schema.Assignment{Host: host, SHA256: schema.DigestOf([]byte(content)), Length: int64(len(content)),
		Target: r.Offer(schema.DigestOf([]byte("manifest of "+content)), "0123456789abcdef", release)})
}

func (r *repo) clock() time.Time { return r.Now }

// asked are the names that were asked for since the last time.
func (r *repo) asked() []string {
	names, _ := r.Asked()
	return names
}

// unsynced spares tests the wait for the disk.
var unsynced = durable.Disk{Around: func(c durable.Call, do func() error) error {
	if strings.HasPrefix(c.Name, "fsync") {
		return nil
	}
	return do()
}}

// open starts a host program: a new process with the state directory of the last one.
func (r *repo) open(dir string) *Client {
	r.t.Helper()
	c, err := open(dir, r.Anchor, r.clock, unsynced)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// update opens a client on dir, refreshes it and reads the host's assignment.
func (r *repo) update(dir, host string) (*schema.Assignment, error) {
	r.t.Helper()
	c, err := open(dir, r.Anchor, r.clock, unsynced)
	if err != nil {
		return nil, err
	}
	if err := c.Refresh(r.t.Context(), r, nil); err != nil {
		return nil, err
	}
	return c.Assignment(r.t.Context(), r, host)
}

// mustUpdate is update that has to give the host this content.
func (r *repo) mustUpdate(dir, host, content string) {
	r.t.Helper()
	a, err := r.update(dir, host)
	if err != nil {
		r.t.Fatalf("update: %v", err)
	}
	if a.SHA256 != schema.DigestOf([]byte(content)) {
		r.t.Fatalf("%s is given another package than %q", host, content)
	}
}
