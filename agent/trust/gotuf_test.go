package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"bakehouse/agent/trust/trusttest"
)

// What go-tuf 2.4.2 gets wrong in its own client (metadata/updater) or beneath, and the test that shows ours does not.
// Those of TestDefectsOfGoTUF run both, so that a release of go-tuf that mends one is noticed here.
//
//	a cached file that is truncated, empty or zeroed    TestDefectsOfGoTUF, TestHealingMatrix
//	New puts the root it is given over the newer one    TestDefectsOfGoTUF, TestOlderAnchorDoesNotRollTheRootBack
//	a null entry from a mirror without keys panics      TestDefectsOfGoTUF, TestNullEntriesFromAKeylessMirror, FuzzRefresh
//	a key of the wrong length panicked (mended below)   TestAnchorWithAKeyOfTheWrongLengthDoesNotPanic
//	one delegator's word for a role is another's        TestDefectsOfGoTUF, TestRoleIsVerifiedForEachDelegator
//	hash prefixes are compared with base64              TestDefectsOfGoTUF, TestPathHashPrefixesAreHexadecimal
//	a backslash in a path pattern escapes               TestDefectsOfGoTUF, TestPathPatterns
//	one unknown key type fails the whole role           TestDefectsOfGoTUF, TestKeysOfUnknownTypesAreLeftOut
//	role names with a slash are asked for every time    TestDefectsOfGoTUF, TestUnusualRoleNames
//	a second Refresh of one Updater fails               TestDefectsOfGoTUF, TestRefreshTwiceIsNoError
//	of two hashes of a target a random one is asked     TestOneOfTwoHashesIsAlwaysAskedFor; fleets: TestMalformedButSigned
//	downloads are whole in memory, written in place     TestTargetThatChanges, TestDownloadIsNeverHeldInMemory
//	nothing in the cache is synced                      TestCrashDuringRefreshLeavesOldOrNew
//	a clock of 1970 is believed                         TestClockSetBackToReviveExpiredMetadata
//	the Fetcher has no context, and repeats a 404       agent: its client's tests; a Source is asked once, with a context
//	expiry must be UTC and in whole seconds             reconcile/roots and publish, which round what they sign

// theirs is go-tuf's own client on the same repository.
type theirs struct {
	t            *testing.T
	r            *trusttest.Repo
	dir, targets string
}

// DownloadFile makes theirs a fetcher.
func (g *theirs) DownloadFile(at string, _ int64, _ time.Duration) ([]byte, error) {
	if target, ok := strings.CutPrefix(at, "http://repo/targets/"); ok {
		f, err := g.r.Open(g.t.Context(), target)
		if err != nil {
			return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: at}
		}
		return io.ReadAll(f)
	}
	b, err := g.r.Metadata(g.t.Context(), strings.TrimPrefix(at, "http://repo/metadata/"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: at}
	}
	return b, err
}

func (g *theirs) updater(root []byte) (*updater.Updater, error) {
	if root == nil {
		var err error
		if root, err = os.ReadFile(filepath.Join(g.dir, rootFile)); err != nil {
			return nil, err
		}
	}
	c, err := config.New("http://repo/metadata", root)
	if err != nil {
		return nil, err
	}
	c.Fetcher, c.RemoteTargetsURL, c.LocalMetadataDir, c.LocalTargetsDir = g, "http://repo/targets", g.dir, g.targets
	u, err := updater.New(c)
	if err == nil {
		u.UnsafeSetRefTime(start)
	}
	return u, err
}

// run is one process: refresh, then look up and download each target. A panic is an error.
func (g *theirs) run(targets ...string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	u, err := g.updater(nil)
	if err != nil {
		return err
	}
	if err := u.Refresh(); err != nil {
		return err
	}
	for _, target := range targets {
		f, err := u.GetTargetInfo(target)
		if err != nil {
			return err
		}
		if _, _, err := u.DownloadTarget(f, filepath.Join(g.targets, url.QueryEscape(target)), ""); err != nil {
			return err
		}
	}
	return nil
}

func TestDefectsOfGoTUF(t *testing.T) {
	alien := &metadata.Key{Type: "sigstore-oidc", Scheme: "Fulcio"}
	for name, c := range map[string]struct {
		prepare func(d *device, g *theirs)
		targets []string
		refuse  bool // the right thing to do is to refuse, which go-tuf does not
	}{
		"truncated timestamp": {prepare: heldDamaged("timestamp.json", func(b []byte) []byte { return b[:len(b)/2] })},
		"empty snapshot":      {prepare: heldDamaged("snapshot.json", func([]byte) []byte { return nil })},
		"zeroed targets":      {prepare: heldDamaged("targets.json", func(b []byte) []byte { return make([]byte, len(b)) })},
		"the other delegator's signature": {refuse: true, targets: []string{"a-file", "b-file"},
			prepare: func(d *device, _ *theirs) { diamond(d.r, false) }},
		"path hash prefixes": {targets: []string{"file"}, prepare: func(d *device, _ *theirs) {
			sum := sha256.Sum256([]byte("file"))
			d.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "bin", PathHashPrefixes: []string{hex.EncodeToString(sum[:1])}})
			d.r.Add("bin", "file", "content")
			d.r.PublishAll("bin", metadata.TARGETS)
		}},
		"a backslash in a pattern": {targets: []string{`a\b`}, prepare: func(d *device, _ *theirs) {
			d.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "A", Paths: []string{`a\*`}})
			d.r.Add("A", `a\b`, "content")
			d.r.PublishAll("A", metadata.TARGETS)
		}},
		"an unknown key type": {prepare: func(d *device, _ *theirs) {
			if err := d.r.Root.Signed.AddKey(alien, metadata.TIMESTAMP); err != nil {
				d.t.Fatal(err)
			}
			d.r.Publish(metadata.ROOT)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			g := &theirs{t, d.r, t.TempDir(), t.TempDir()}
			if err := os.WriteFile(filepath.Join(g.dir, rootFile), d.r.Latest(metadata.ROOT), 0o600); err != nil {
				t.Fatal(err)
			}
			c.prepare(d, g)
			their, our := g.run(c.targets...), d.download(c.targets...)
			if c.refuse {
				their, our = our, their
			}
			if their == nil {
				t.Error("go-tuf does this now: take it out of the list of its defects")
			}
			if our != nil {
				t.Errorf("ours: %v", our)
			}
		})
	}
	t.Run("a null target from a mirror without keys", func(t *testing.T) {
		d := newDevice(t)
		g := &theirs{t, d.r, t.TempDir(), t.TempDir()}
		if err := os.WriteFile(filepath.Join(g.dir, rootFile), d.r.Latest(metadata.ROOT), 0o600); err != nil {
			t.Fatal(err)
		}
		d.r.Bend(metadata.TARGETS, func([]byte) []byte {
			return []byte(`{"signed":{"_type":"targets","targets":{"a":null}},"signatures":[]}`)
		})
		if err := g.run(); err == nil || !strings.HasPrefix(err.Error(), "panic") {
			t.Errorf("go-tuf: %v; take it out of the list of its defects", err)
		}
		d.mustFail(d.refresh(), "an entry is null")
	})
	t.Run("the root rolls back", func(t *testing.T) {
		d := newDevice(t)
		g := &theirs{t, d.r, t.TempDir(), t.TempDir()}
		anchor := d.r.Latest(metadata.ROOT)
		d.r.Publish(metadata.ROOT)
		for range 2 {
			if u, err := g.updater(anchor); err != nil || u.Refresh() != nil {
				t.Fatal("go-tuf does not refresh")
			}
			if _, err := g.updater(anchor); err != nil { // it opens, and the server is away
				t.Fatal(err)
			}
			d.must(d.init(anchor))
			d.must(d.refresh())
			d.must(d.init(anchor))
		}
		if v := versionIn(t, filepath.Join(g.dir, rootFile)); v != 1 {
			t.Errorf("go-tuf keeps root %d: take it out of the list of its defects", v)
		}
		if v := versionIn(t, filepath.Join(d.dir, rootFile)); v != 2 {
			t.Errorf("ours keeps root %d", v)
		}
	})
	t.Run("a role name with a slash", func(t *testing.T) {
		d := newDevice(t)
		g := &theirs{t, d.r, t.TempDir(), t.TempDir()}
		if err := os.WriteFile(filepath.Join(g.dir, rootFile), d.r.Latest(metadata.ROOT), 0o600); err != nil {
			t.Fatal(err)
		}
		d.delegates(edge{from: "targets", to: "a/b"})
		d.r.Add("a/b", "file", "content")
		d.r.PublishAll("a/b")
		asks := func(run func(...string) error) (n int) {
			for range 2 {
				if err := run("file"); err != nil {
					t.Fatal(err)
				}
			}
			names, _ := d.r.Asked()
			for _, name := range names {
				if name == "2.a%2Fb.json" || name == "2.a/b.json" {
					n++
				}
			}
			return n
		}
		d.r.Asked()
		if n := asks(g.run); n != 2 {
			t.Errorf("go-tuf asks %d times: take it out of the list of its defects", n)
		}
		if n := asks(d.download); n != 1 {
			t.Errorf("ours asks %d times", n)
		}
	})
	t.Run("a second Refresh", func(t *testing.T) {
		d := newDevice(t)
		g := &theirs{t, d.r, t.TempDir(), t.TempDir()}
		u, err := g.updater(d.r.Latest(metadata.ROOT))
		if err != nil || u.Refresh() != nil {
			t.Fatal("go-tuf does not refresh")
		}
		d.r.Publish(metadata.ROOT)
		if u.Refresh() == nil {
			t.Error("go-tuf does this now: take it out of the list of its defects")
		}
		c, err := d.open(nil)
		d.must(err)
		d.must(c.Refresh(t.Context(), d.r))
		d.must(c.Refresh(t.Context(), d.r))
		d.trusts("root 2", "snapshot 1", "targets 1", "timestamp 1")
	})
}

// heldDamaged lets both clients refresh and then damages what they hold.
func heldDamaged(name string, how func([]byte) []byte) func(d *device, g *theirs) {
	return func(d *device, g *theirs) {
		if err := g.run(); err != nil {
			d.t.Fatal(err)
		}
		d.must(d.refresh())
		damage(d.t, g.dir, name, how)
		damage(d.t, d.dir, name, how)
	}
}

// A Client, as serve keeps one open, refreshes as often as it likes.
func TestRefreshTwiceIsNoError(t *testing.T) {
	r := newRepo(t)
	c := r.open(t.TempDir())
	for range 3 {
		r.Release()
		if err := c.Refresh(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, v := c.Versions(); v != r.Timestamp.Signed.Version {
		t.Errorf("timestamp %d is held, %d was published", v, r.Timestamp.Signed.Version)
	}
}

// zeroes is a target of any length.
type zeroes struct{ left int64 }

func (z *zeroes) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), z.left)
	clear(b[:n])
	z.left -= n
	return int(n), nil
}

func (z *zeroes) Close() error { return nil }

// large serves one target that is nowhere as a whole.
type large struct {
	*trusttest.Repo
	length int64
}

func (l large) Open(context.Context, string) (io.ReadCloser, error) { return &zeroes{l.length}, nil }

func TestDownloadIsNeverHeldInMemory(t *testing.T) {
	const length = 32 << 20
	d := newDevice(t)
	h := sha256.New()
	if _, err := io.Copy(h, &zeroes{length}); err != nil {
		t.Fatal(err)
	}
	f := d.r.Add(metadata.TARGETS, "large", "")
	f.Length, f.Hashes["sha256"] = length, h.Sum(nil)
	d.r.PublishAll(metadata.TARGETS)
	c, err := d.open(nil)
	d.must(err)
	d.must(c.Refresh(t.Context(), d.r))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = c.Download(t.Context(), large{d.r, length}, "large", d.targets)
	runtime.ReadMemStats(&after)
	d.must(err)
	if n := after.TotalAlloc - before.TotalAlloc; n > length/8 {
		t.Errorf("%d bytes were allocated for a target of %d", n, length)
	}
	_, _, err = c.Download(t.Context(), large{d.r, 1 << 60}, "large", t.TempDir())
	d.mustFail(err, "longer than the signed length")
}
