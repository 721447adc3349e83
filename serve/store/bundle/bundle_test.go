package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/quorum"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/bundle"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/storetest"
)

// centre is a fleet with the store that it is published in.
type centre struct {
	*trusttest.Fleet
	t     testing.TB
	store storetest.Memory
	n     int64
}

func newCentre(t testing.TB) *centre {
	c := &centre{Fleet: trusttest.NewFleet(time.Now(), 4), t: t, store: storetest.Memory{}}
	c.More[schema.AccessTarget] = &schema.Access{Schema: 1}
	return c
}

// give publishes a package of two segments, one of which all have.
func (c *centre) give(hosts ...string) *centre {
	for _, host := range hosts {
		var pieces []trusttest.Piece
		for _, text := range []string{"what all share", fmt.Sprintf("%s in release %d", host, c.n+1)} {
			segment := storetest.Deflate(text)
			ref := schema.SegmentRef{Payload: schema.DigestOf([]byte(text)), PayloadSize: int64(len(text))}
			pieces = append(pieces, trusttest.Piece{Bytes: segment, Segment: &ref})
		}
		c.Give(host, c.Pack(schema.Manifest{Version: "1.0", Recipe: "0123456789abcdef", Format: schema.Deb,
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}},
			append(pieces, trusttest.Piece{Bytes: []byte("tail")})...))
	}
	c.n++
	c.Policy.Issued = c.Policy.Issued.Add(time.Second)
	c.More[schema.ReleaseTarget] = schema.Release{Schema: 1, Number: c.n, Issued: c.Policy.Issued}
	c.Release()
	maps.Copy(c.store, c.Objects)
	for name, b := range c.Files {
		if name != "timestamp.json" {
			c.store[schema.MetadataDir+name] = b
		}
	}
	c.store[schema.TimestampKey(c.Timestamp.Signed.Version)] = c.Files["timestamp.json"]
	return c
}

// sign signs with the timestamp's keys.
func (c *centre) sign(message []byte, _ *metadata.Role) (sigs []quorum.Signature, err error) {
	for _, k := range c.Signers[metadata.TIMESTAMP] {
		sig, err := k.Signer.SignMessage(bytes.NewReader(message))
		if err != nil {
			return nil, err
		}
		sigs = append(sigs, quorum.Signature{KeyID: k.ID(), Sig: sig})
	}
	return sigs, nil
}

func (c *centre) bundle(base bundle.Base) []byte {
	c.t.Helper()
	var b bytes.Buffer
	if _, err := bundle.Write(c.t.Context(), &b, c.store, c.Anchor, base, c.sign); err != nil {
		c.t.Fatal(err)
	}
	return b.Bytes()
}

func apply(ctx context.Context, b []byte, to store.Store, anchor []byte) (*bundle.Applied, error) {
	opened, err := bundle.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	return bundle.Apply(ctx, opened, to, anchor)
}

// whole holds that a store is at a timestamp, with all that it leads to.
func whole(t *testing.T, s storetest.Memory, version int64) {
	t.Helper()
	sum, err := maintain.Fsck(t.Context(), s, true, func(f maintain.Finding) { t.Errorf("%s: %v", f.Key, f.Err) })
	if err != nil || sum.Head != version {
		t.Errorf("at timestamp %d, want %d: %v", sum.Head, version, err)
	}
}

func TestADifferenceIsCarriedToAStoreThatNoNetworkReaches(t *testing.T) {
	c := newCentre(t).give("web01", "web02")
	site := storetest.Memory{}
	first := c.bundle(bundle.Base{})
	did, err := apply(t.Context(), first, site, c.Anchor)
	if err != nil || did.From != 0 || did.To != 1 || did.Release != 1 || did.Objects != len(site) {
		t.Fatalf("%+v, %v", did, err)
	}
	whole(t, site, 1)

	c.give("web01")
	second := c.bundle(bundle.Base{Since: 1})
	if len(second) >= len(first) || !bytes.Equal(second, c.bundle(bundle.Base{Since: 1})) {
		t.Errorf("%d bytes after %d, or not the same twice", len(second), len(first))
	}
	have := map[string]bool{}
	for key := range site {
		have[key] = true
	}
	if listed := c.bundle(bundle.Base{Have: have}); len(listed) >= len(second) {
		t.Errorf("by what the site lists %d bytes, by its timestamp %d", len(listed), len(second))
	}
	if did, err = apply(t.Context(), second, site, c.Anchor); err != nil || did.From != 1 || did.To != 2 {
		t.Fatalf("%+v, %v", did, err)
	}
	whole(t, site, 2)
	before := maps.Clone(site)
	if did, err = apply(t.Context(), second, site, c.Anchor); err != nil || did.Objects != 0 || did.From != 2 {
		t.Errorf("again: %+v, %v", did, err)
	}

	// A new root drops the timestamp's key; the site walks to it with what the bundle brings.
	c.Rotate(metadata.TIMESTAMP)
	c.Publish(metadata.ROOT)
	c.give("web02")
	if _, err := apply(t.Context(), c.bundle(bundle.Base{Since: 2}), site, c.Anchor); err != nil {
		t.Fatal(err)
	}
	whole(t, site, 3)
	if _, err := apply(t.Context(), second, site, c.Anchor); err == nil || len(before) == len(site) {
		t.Errorf("an older bundle was taken: %v", err)
	}
	whole(t, site, 3)
}

func TestABundleThatIsAlteredAnywhereWritesNothing(t *testing.T) {
	c := newCentre(t).give("web01")
	good := c.bundle(bundle.Base{})
	for i := 0; i < len(good); i += 1 + 96*min(1, i/40) { // each in the fixed part, then one in 97
		for _, bit := range []byte{1, 0x20} { // the other case of a letter, too
			bad := bytes.Clone(good)
			bad[i] ^= bit
			refused(t, fmt.Sprintf("byte %d is %q", i, bad[i]), bad, storetest.Memory{}, c.Anchor)
		}
		if i%5 == 0 {
			refused(t, fmt.Sprintf("cut after %d bytes", i), good[:i], storetest.Memory{}, c.Anchor)
		}
	}
	refused(t, "with a byte behind it", append(bytes.Clone(good), 0), storetest.Memory{}, c.Anchor)
	refused(t, "twice", append(bytes.Clone(good), good...), storetest.Memory{}, c.Anchor)
}

// refused holds that a bundle is refused and the store stays as it was.
func refused(t *testing.T, name string, b []byte, site storetest.Memory, anchor []byte) {
	t.Helper()
	before := maps.Clone(site)
	_, err := apply(t.Context(), b, site, anchor)
	if err == nil || !fault.IsRefusal(err) || fault.HintOf(err) == "" {
		t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
	}
	if !maps.EqualFunc(before, site, bytes.Equal) {
		t.Errorf("%s: the store changed", name)
	}
}

func TestHostileBundlesWriteNothing(t *testing.T) {
	c := newCentre(t).give("web01", "web02")
	old := c.bundle(bundle.Base{})
	c.give("web01")
	newer := c.bundle(bundle.Base{})
	site := storetest.Memory{}
	if _, err := apply(t.Context(), newer, site, c.Anchor); err != nil {
		t.Fatal(err)
	}
	refused(t, "an older one is replayed", old, site, c.Anchor)

	other := newCentre(t).give("web01").give("web01").give("web01")
	for _, k := range []string{metadata.TIMESTAMP} {
		other.Rotate(k)
		other.Publish(metadata.ROOT)
	}
	other.give("web01")
	refused(t, "another fleet's", other.bundle(bundle.Base{}), site, c.Anchor)
	refused(t, "another fleet's, into an empty store", other.bundle(bundle.Base{}), storetest.Memory{}, c.Anchor)

	// A thief of the timestamp's key bends what the store has and signs the bundle.
	bent := func(name string, how func(s storetest.Memory)) {
		t.Helper()
		thief := &centre{Fleet: c.Fleet, t: t, store: maps.Clone(c.store)}
		how(thief.store)
		var b bytes.Buffer
		_, err := bundle.Write(t.Context(), &b, thief.store, c.Anchor, bundle.Base{Have: map[string]bool{}}, c.sign)
		if err == nil {
			refused(t, name, b.Bytes(), storetest.Memory{}, c.Anchor)
		}
	}
	bent("a statement is none", func(s storetest.Memory) {
		for key := range s {
			if strings.HasPrefix(key, schema.StatementDir) {
				s[key] = []byte("{}")
			}
		}
	})
	bent("there are no statements", func(s storetest.Memory) {
		maps.DeleteFunc(s, func(key string, _ []byte) bool { return strings.HasPrefix(key, schema.StatementDir) })
	})
	bent("a segment is missing", func(s storetest.Memory) {
		maps.DeleteFunc(s, func(key string, _ []byte) bool { return strings.HasPrefix(key, schema.SegmentDir) })
	})

	missing := c.bundle(bundle.Base{Since: 1})
	_, err := apply(t.Context(), missing, storetest.Memory{}, c.Anchor)
	if err == nil || !strings.Contains(err.Error(), "goes on from timestamp 1, and the store is at 0") {
		t.Errorf("one that is missing: %v", err)
	}
	damaged := storetest.Memory{}
	if _, err := apply(t.Context(), old, damaged, c.Anchor); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(damaged, func(key string, _ []byte) bool { return strings.HasPrefix(key, schema.SegmentDir) })
	refused(t, "the store lost what it counts on", missing, damaged, c.Anchor)
	forked := maps.Clone(damaged)
	forked[schema.TimestampKey(2)] = forked[schema.TimestampKey(1)]
	refused(t, "the store has another timestamp of that number", newer, forked, c.Anchor)
}

// Who has stolen the timestamp's key cannot make the first root, which a server is started with, another.
func TestAForgedFirstRootIsNotTaken(t *testing.T) {
	c := newCentre(t).give("web01")
	c.Publish(metadata.ROOT)
	c.give("web01")
	second := c.Files["2.root.json"]
	forged := newCentre(t).give("web01")
	c.store[schema.MetadataKey("root", 1)] = forged.Anchor
	var b bytes.Buffer
	if _, err := bundle.Write(t.Context(), &b, c.store, second, bundle.Base{}, c.sign); err != nil {
		t.Fatal(err)
	}
	opened, err := bundle.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range opened.Index.Objects {
		if o.Key == schema.MetadataKey("root", 1) {
			t.Error("a root before the one that is held is carried")
		}
	}
	site := storetest.Memory{}
	if _, err := apply(t.Context(), b.Bytes(), site, second); err != nil {
		t.Error(err)
	}
	c.store[schema.MetadataKey("root", 1)] = c.Anchor
	refused(t, "roots before the one that is held", c.bundle(bundle.Base{}), storetest.Memory{}, second)
}

// killed is a store whose process dies after some objects.
type killed struct {
	storetest.Memory
	mu   sync.Mutex
	left int
}

var errKilled = errors.New("killed")

func (k *killed) Create(ctx context.Context, key string, r io.Reader) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left--; k.left < 0 {
		return errKilled
	}
	return k.Memory.Create(ctx, key, r)
}

func TestAnApplyThatIsKilledAnywhereLeavesTheOldOrTheNewState(t *testing.T) {
	c := newCentre(t).give("web01", "web02")
	site := storetest.Memory{}
	if _, err := apply(t.Context(), c.bundle(bundle.Base{}), site, c.Anchor); err != nil {
		t.Fatal(err)
	}
	c.give("web01", "web02")
	next := c.bundle(bundle.Base{Since: 1})
	for n := 0; ; n++ {
		at := &killed{Memory: maps.Clone(site), left: n}
		_, err := apply(t.Context(), next, at, c.Anchor)
		if err == nil {
			whole(t, at.Memory, 2)
			break
		}
		if head, _ := store.Head(t.Context(), at.Memory); !errors.Is(err, errKilled) || head != 1 {
			t.Fatalf("after %d objects: %v, head %d", n, err, head)
		}
		sum, err := maintain.Fsck(t.Context(), at.Memory, false, func(maintain.Finding) {})
		if err != nil || sum.Errors > 0 {
			t.Errorf("after %d objects: %+v, %v", n, sum, err)
		}
		if _, err := apply(t.Context(), next, at.Memory, c.Anchor); err != nil {
			t.Errorf("again after %d objects: %v", n, err)
		}
		whole(t, at.Memory, 2)
	}
}

func FuzzOpen(f *testing.F) {
	c := newCentre(f).give("web01")
	good := c.bundle(bundle.Base{})
	f.Add(good)
	f.Add(good[:100])
	f.Add([]byte("bakehouse bundle 1\n0000000002\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		site := storetest.Memory{}
		if _, err := apply(t.Context(), b, site, c.Anchor); err == nil && !bytes.Equal(b, good) {
			t.Errorf("another bundle was taken: %q", b)
		} else if err != nil && len(site) > 0 {
			t.Errorf("it wrote %d objects: %v", len(site), err)
		}
	})
}
