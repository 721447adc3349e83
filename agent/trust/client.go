package trust

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// Client verifies a fleet's metadata, starting from its anchor root. It is safe for concurrent use; calls that may ask
// the source wait for each other, the others never wait.
type Client struct {
	now   func() time.Time
	cur   atomic.Pointer[view]
	chain atomic.Pointer[[]rootSeen] // marks.Roots for HasRoot
	known atomic.Int64               // version of the newest root

	mu       sync.Mutex // guards all below
	dir      *dir
	root     []byte // newest verified
	healRoot bool   // root must be written
	marks    *marks
	waived   []string
}

// view is one verified state. Its set only grows, by bins, under Client.mu.
type view struct {
	set       *trustedmetadata.TrustedMetadata
	targets   *metadata.Metadata[metadata.TargetsType] // of set, for those who read without the lock
	timestamp []byte
	policy    *schema.Policy
	refreshed bool // by Refresh, not merely read back from the state directory
}

// Open makes a client from the anchor, and from what it remembers in the directory dir (created if absent; empty: it
// remembers nothing). now is the clock, time.Now if nil.
func Open(dir string, anchor []byte, now func() time.Time) (*Client, error) {
	return open(dir, anchor, now, durable.Disk{})
}

func open(dir string, anchor []byte, now func() time.Time, disk durable.Disk) (*Client, error) {
	if now == nil {
		now = time.Now
	}
	d, err := openDir(dir, disk)
	if err != nil {
		return nil, err
	}
	c := &Client{now: now, dir: d, marks: d.readMarks()}
	if err := c.choose(slices.Clone(anchor)); err != nil {
		return nil, err
	}
	if err := c.save(); err != nil {
		return nil, err
	}
	if b := d.read(timestampFile, schema.MaxTimestamp); b != nil {
		// What was held is read back as it was taken, without a source. If it no longer verifies, it is fetched again.
		if v, err := c.walk(context.Background(), nil, b); err == nil {
			c.cur.Store(v)
		}
	}
	c.published()
	return c, c.save()
}

// AllowExpired makes the client accept expired metadata of these roles, of all roles if none is named. It is for those
// who install nothing: serve must go on handing out what there is, and the holders of a role's keys must be able to
// renew it. Signatures and versions are checked as ever.
func (c *Client) AllowExpired(roles ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(roles) == 0 {
		roles = []string{everyRole}
	}
	c.waived = append(c.waived, roles...)
}

const everyRole = "*"

// Refresh brings the client to the state that timestamp, as a poll answered it, names; nil fetches it from src. To check
// what is held against the clock and newer roots again, pass c.Timestamp(). If it fails, the state before stays, and
// with it Policy, but versions seen are remembered.
func (c *Client) Refresh(ctx context.Context, src Source, timestamp []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.refresh(ctx, src, timestamp)
	if serr := c.save(); serr != nil {
		err = errors.Join(err, serr)
	}
	c.published()
	return err
}

func (c *Client) refresh(ctx context.Context, src Source, timestamp []byte) error {
	set, err := newSet(c.root)
	if err != nil {
		return err
	}
	if err := c.walkRoots(ctx, src, set); err != nil {
		return err
	}
	if timestamp == nil {
		if timestamp, err = src.Metadata(ctx, timestampFile, schema.MaxTimestamp); err != nil {
			return unreachable(timestampFile, err)
		}
	}
	timestamp = slices.Clone(timestamp)
	v, err := c.walk(ctx, src, timestamp)
	if err != nil {
		return err
	}
	v.refreshed = true
	if err := c.commit(v); err != nil {
		return err
	}
	c.cur.Store(v)
	return nil
}

// commit makes v what the state directory holds. The timestamp goes last, and only then the files of the state before,
// so a crash leaves the one or the other.
func (c *Client) commit(v *view) error {
	if c.dir == nil {
		return nil
	}
	if err := c.save(); err != nil {
		return err
	}
	if err := c.dir.write(timestampFile, v.timestamp); err != nil {
		return err
	}
	keep := v.files()
	return c.dir.sweep(func(name, role string) bool {
		bin := role != "" && role != metadata.SNAPSHOT && role != metadata.TARGETS
		return !bin && !slices.Contains(keep, name)
	})
}

// published copies what the lock-free readers see.
func (c *Client) published() {
	roots := slices.Clone(c.marks.Roots)
	c.chain.Store(&roots)
	if set, err := newSet(c.root); err == nil {
		c.known.Store(set.Root.Signed.Version)
	}
}

// Versions returns the versions of the newest verified root, and of the timestamp whose state is held: 0 if none.
func (c *Client) Versions() (root, timestamp int64) {
	if v := c.cur.Load(); v != nil {
		timestamp = v.set.Timestamp.Signed.Version
	}
	return c.known.Load(), timestamp
}

// Timestamp returns the newest timestamp file whose whole state is verified and held, nil if there is none.
func (c *Client) Timestamp() []byte {
	if v := c.cur.Load(); v != nil {
		return bytes.Clone(v.timestamp)
	}
	return nil
}

// HasRoot reports whether the root with this digest is in the verified chain of roots: a package whose anchor is not
// belongs to another fleet.
func (c *Client) HasRoot(d schema.Digest) bool {
	m := marks{Roots: *c.chain.Load()}
	return m.hasRoot(d)
}

// Policy returns the newest verified policy, nil if there is none. It may have been read from the state directory and
// be expired: it says where to ask, but nothing may be installed before Refresh has succeeded. It must not be changed.
func (c *Client) Policy() *schema.Policy {
	if v := c.cur.Load(); v != nil {
		return v.policy
	}
	return nil
}

// Now is the time that the client believes: its clock's, but not earlier than the newest verified policy was issued.
func (c *Client) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.cur.Load(); v != nil {
		return c.believed(v.set)
	}
	return c.now()
}

func (c *Client) believed(set *trustedmetadata.TrustedMetadata) time.Time {
	now := c.now()
	if floor := c.marks.floor(rootAuthority(set.Root, metadata.TARGETS)); now.Before(floor) {
		return floor
	}
	return now
}

// fresh checks a role's expiry (5.3.10, 5.4.4, 5.5.6, 5.6.6).
func (c *Client) fresh(role string, expires, now time.Time) error {
	if now.Before(expires) || slices.Contains(c.waived, role) || slices.Contains(c.waived, everyRole) {
		return nil
	}
	return expired(role, expires, now)
}

// Verified returns the metadata behind the current state, nil before the first Refresh. It is for reading only, and must
// not be used at the same time as Refresh, Assignment or All.
func (c *Client) Verified() *trustedmetadata.TrustedMetadata {
	if v := c.cur.Load(); v != nil {
		return v.set
	}
	return nil
}
