package trust

import (
	"context"
	"errors"
	"iter"
	"time"

	"bakehouse/schema"
)

const timestampFile = "timestamp.json"

var errUnbuilt = errors.New("not built yet")

// Client verifies a fleet's metadata, starting from its anchor root. It is safe for concurrent use.
type Client struct{}

// Open makes a client from the anchor, and from what it remembers in the directory dir (created if absent; empty: it
// remembers nothing). now is the clock, time.Now if nil.
func Open(dir string, anchor []byte, now func() time.Time) (*Client, error) { return nil, errUnbuilt }

// Refresh brings the client to the state that timestamp, as a poll answered it, names; nil fetches it from src. To
// check what is held against the clock and its roots again, pass c.Timestamp().
func (c *Client) Refresh(ctx context.Context, src Source, timestamp []byte) error { return errUnbuilt }

// Versions returns the versions of the newest verified root, and of the newest verified timestamp: 0 if none.
func (c *Client) Versions() (root, timestamp int64) { return 0, 0 }

// Timestamp returns the newest timestamp file whose whole state is verified and held, nil if there is none.
func (c *Client) Timestamp() []byte { return nil }

// HasRoot reports whether the root with this digest is in the verified chain of roots.
func (c *Client) HasRoot(d schema.Digest) bool { return false }

// Policy returns the newest verified policy, nil if there is none. It may have been read from the state directory and
// be expired: it says where to ask, but nothing may be installed before Refresh has succeeded.
func (c *Client) Policy() *schema.Policy { return nil }

// Release reads the verified target "release"; ErrNoTarget if there is none.
func (c *Client) Release(ctx context.Context, src Source) (*schema.Release, error) {
	return nil, errUnbuilt
}

// Access reads the verified target "access"; ErrNoTarget if there is none.
func (c *Client) Access(ctx context.Context, src Source) (*schema.Access, error) {
	return nil, errUnbuilt
}

// Assignment reads what the host is given, from its bin; ErrNoTarget if the fleet has nothing for it.
func (c *Client) Assignment(ctx context.Context, src Source, host string) (*schema.Assignment, error) {
	return nil, errUnbuilt
}

// All yields every host's assignment, bin by bin. After an error it stops.
func (c *Client) All(ctx context.Context, src Source) iter.Seq2[*schema.Assignment, error] {
	return func(yield func(*schema.Assignment, error) bool) { yield(nil, errUnbuilt) }
}

// BinOf names the role that lists the host's package, such as "bin-0a"; empty before the first Refresh.
func (c *Client) BinOf(host string) string { return "" }

// VerifyStatements checks the DSSE envelopes beside a package: threshold of the distinct keys must have signed exactly
// want. It returns the names of the keys that did. The refusal lists each signature and why it was ignored.
func VerifyStatements(envelopes [][]byte, want schema.Statement, keys []schema.AcceptedKey, threshold int) (accepted []string, err error) {
	return nil, errUnbuilt
}
