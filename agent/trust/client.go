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

	"bakehouse/agent/trust/bins"
	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/tree"
)

// Client verifies a fleet's metadata, starting from its anchor root. It is safe for concurrent use; calls that may ask
// the source wait for each other, the others never wait.
type Client struct {
	cur   atomic.Pointer[view]
	chain atomic.Pointer[[]rootSeen] // marks.Roots for HasRoot
	known atomic.Int64               // version of the newest root

	mu sync.Mutex // guards the walker
	*walker
	noTree bool
	memory bins.Memory // of verified bins; nil: none
}

// view is one verified state. It only grows, by bins, under Client.mu.
type view struct {
	set       *trustedmetadata.TrustedMetadata
	targets   *metadata.Metadata[metadata.TargetsType] // of set, for those who read without the lock
	root      []byte                                   // by which it was verified
	timestamp []byte
	policy    *schema.Policy
	refreshed bool // by Refresh, not merely read back from the state directory

	sums map[string]schema.Digest // of the files of snapshot and targets, by role
	tree tree.Tree                // nil until the first bin is read, and in a client with a directory

	layout   bins.Layout
	by       quorum.Quorum // of bins
	verifier *quorum.Verifier
	bins     map[string]*bins.Bin // by role
}

// Open makes a client from the anchor, and from what it remembers in the directory dir (created if absent; empty: it
// remembers nothing). now is the clock, time.Now if nil.
func Open(dir string, anchor []byte, now func() time.Time) (*Client, error) {
	return open(dir, anchor, now, durable.Disk{})
}

func open(dir string, anchor []byte, now func() time.Time, disk durable.Disk) (*Client, error) {
	w, err := newWalker(dir, anchor, now, disk, true)
	if err != nil {
		return nil, err
	}
	c := &Client{walker: w}
	if b := w.dir.Read(timestampFile, schema.MaxTimestamp); b != nil {
		// What was held is read back as it was taken, without a source. If it no longer verifies, it is fetched again.
		if to, err := w.walk(context.Background(), nil, b); err == nil {
			if v, err := c.view(context.Background(), nil, to); err == nil {
				c.show(v)
			}
		}
	}
	c.published()
	return c, c.save()
}

// view completes a walk by the policy.
func (c *Client) view(ctx context.Context, src Source, to *walked) (*view, error) {
	policy, err := c.takePolicy(ctx, src, to.set)
	if err != nil {
		return nil, err
	}
	targets := to.set.Targets[metadata.TARGETS]
	by, err := delegated(targets, schema.BinPrefix)
	if err != nil {
		return nil, err
	}
	verifier, err := by.Verifier()
	if err != nil {
		return nil, refuse("%s: %w", targetsFile, err)
	}
	return &view{set: to.set, targets: targets, root: c.root, timestamp: to.timestamp, policy: policy,
		refreshed: src != nil, sums: to.sums, layout: bins.LayoutOf(targets.Signed.Delegations.SuccinctRoles), by: by,
		verifier: verifier, bins: map[string]*bins.Bin{}}, nil
}

func (c *Client) show(v *view) {
	c.cur.Store(v)
	c.held = v.timestamp
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

// Remember makes the client know again, by its digest in a snapshot's tree, a bin that one with the same memory
// verified before. It is then not read.
func (c *Client) Remember(m bins.Memory) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory = m
}

// Later has what is verified from now on wait for Commit before the directory has it, as a whole.
func (c *Client) Later() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dir.Later()
}

// Stage writes what waits beside its place, so that Commit has less to do if the file system is synced meanwhile.
func (c *Client) Stage() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dir.Stage()
}

// Commit makes what waits durable. Synced says that its file system was synced since Stage.
func (c *Client) Commit(synced bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dir.Commit(synced)
}

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
	if v := c.cur.Load(); v != nil && timestamp != nil && bytes.Equal(timestamp, v.timestamp) {
		if err := c.walkRoots(ctx, src); err != nil {
			return err
		}
		if c.holds(v) {
			again := *v
			again.refreshed = true
			c.show(&again)
			return nil
		}
	}
	to, err := c.walker.refresh(ctx, src, timestamp)
	if err != nil {
		return err
	}
	v, err := c.view(ctx, src, to)
	if err != nil {
		return err
	}
	if err := c.commit(v); err != nil {
		return err
	}
	v.carry(c.cur.Load())
	c.show(v)
	return nil
}

// holds reports whether v still counts. Its files were verified when they were read, so that only the root, the marks
// and the clock are asked. If one of them objects, the files are read again, and the objection is told from there.
func (c *Client) holds(v *view) bool {
	root, snapshot, targets := v.set.Root, v.set.Snapshot.Signed, v.targets.Signed
	now := c.believed(root)
	return bytes.Equal(v.root, c.root) &&
		c.takeTimestamp(v.set, v.timestamp, true) == nil &&
		c.marks.metaBelow(metadata.SNAPSHOT, quorum.OfRoot(root, metadata.SNAPSHOT), snapshot.Meta) == nil &&
		c.fresh(metadata.SNAPSHOT, snapshot.Expires, now) == nil &&
		c.marks.below(metadata.TARGETS, targets.Version, quorum.OfRoot(root, metadata.TARGETS)) == nil &&
		c.fresh(metadata.TARGETS, targets.Expires, now) == nil
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
	if err := c.dir.Write(timestampFile, v.timestamp); err != nil {
		return err
	}
	keep := v.files()
	return c.dir.Sweep(func(name, role string) bool {
		bin := role != "" && role != metadata.SNAPSHOT && role != metadata.TARGETS
		return !bin && !slices.Contains(keep, name)
	})
}

// files are the names under which the directory holds v, without its bins.
func (v *view) files() []string {
	names := []string{
		versionedName(metadata.SNAPSHOT, v.set.Snapshot.Signed.Version),
		versionedName(metadata.TARGETS, v.targets.Signed.Version),
	}
	if d, _, err := targetDigest(v.targets, schema.PolicyTarget); err == nil {
		names = append(names, d.Hex()+policySuffix)
	}
	return names
}

// published copies what the lock-free readers see.
func (c *Client) published() {
	roots := slices.Clone(c.marks.Roots)
	c.chain.Store(&roots)
	if root, err := ParseRoot(c.root); err == nil {
		c.known.Store(root.Signed.Version)
	}
}

// Versions returns the versions of the newest verified root, and of the timestamp whose state is held: 0 if none.
func (c *Client) Versions() (root, timestamp int64) {
	if v := c.cur.Load(); v != nil {
		timestamp = v.set.Timestamp.Signed.Version
	}
	return c.known.Load(), timestamp
}

// Holds returns the versions that a source may send differences to: Versions, and those of the files in the directory.
func (c *Client) Holds(host string) (v schema.MetadataVersions) {
	v.Root, v.Timestamp = c.Versions()
	v.Snapshot, v.Targets = c.dir.Newest(metadata.SNAPSHOT), c.dir.Newest(metadata.TARGETS)
	if bin := c.BinOf(host); bin != "" {
		v.Bin = c.dir.Newest(bin)
	}
	return v
}

// Digests returns those of the snapshot's and the host's bin's file as they were verified, zero for one that was not.
// Two hosts that name equal versions and other digests were shown two states.
func (c *Client) Digests(host string) (snapshot, bin schema.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.cur.Load()
	if v == nil {
		return snapshot, bin
	}
	if b := v.bins[v.layout.Of(host)]; b != nil {
		bin = b.SHA256
	}
	return v.sums[metadata.SNAPSHOT], bin
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
		return c.believed(v.set.Root)
	}
	return c.now()
}

// Sums are the digests of the verified files of snapshot and targets, by role. It must not be changed, nor used at the
// same time as Refresh.
func (c *Client) Sums() map[string]schema.Digest {
	if v := c.cur.Load(); v != nil {
		return v.sums
	}
	return nil
}

// Verified returns the metadata behind the current state without its bins, nil before the first Refresh. It is for
// reading only, and must not be used at the same time as Refresh.
func (c *Client) Verified() *trustedmetadata.TrustedMetadata {
	if v := c.cur.Load(); v != nil {
		return v.set
	}
	return nil
}
