package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/trusttest"
)

// The behaviours that the TUF conformance suite (theupdateframework/tuf-conformance) asks of a client, as far as one
// Repository shows them. The command line, and what is particular to keys, delegations and downloads, is in files beside.

// device is a TUF client as the suite sees one: each call is a process of its own.
type device struct {
	t       *testing.T
	r       *trusttest.Repo
	dir     string
	targets string
	now     time.Time
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, r: trusttest.New(start), dir: t.TempDir(), targets: t.TempDir(), now: start}
	if err := d.init(d.r.Latest(metadata.ROOT)); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *device) clock() time.Time { return d.now }

func (d *device) open(root []byte) (*Repository, error) {
	return openRepository(d.dir, root, d.clock, unsynced)
}

func (d *device) init(root []byte) error {
	_, err := d.open(root)
	return err
}

func (d *device) refresh() error {
	c, err := d.open(nil)
	if err != nil {
		return err
	}
	return c.Refresh(d.t.Context(), d.r)
}

func (d *device) download(targets ...string) error {
	c, err := d.open(nil)
	if err != nil {
		return err
	}
	if err := c.Refresh(d.t.Context(), d.r); err != nil {
		return err
	}
	for _, target := range targets {
		if _, _, err := c.Download(d.t.Context(), d.r, target, d.targets); err != nil {
			return err
		}
	}
	return nil
}

func (d *device) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) mustFail(err error, says string) {
	d.t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		d.t.Fatalf("got %v, want an error that says %q", err, says)
	}
}

// trusts checks which roles are trusted in which versions: "root 1", "timestamp 2".
func (d *device) trusts(want ...string) {
	d.t.Helper()
	var got []string
	for _, name := range stateFiles(d.t, d.dir) {
		role, ok := strings.CutSuffix(name, ".json")
		if !ok {
			continue
		}
		got = append(got, fmt.Sprintf("%s %d", role, versionIn(d.t, filepath.Join(d.dir, name))))
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("trusted: %q, want %q", got, want)
	}
}

func versionIn(t *testing.T, path string) int64 {
	t.Helper()
	var md struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	readJSON(t, path, &md)
	return md.Signed.Version
}

// asked checks which metadata were asked for since the last time.
func (d *device) asked(want ...string) {
	d.t.Helper()
	if got, _ := d.r.Asked(); !slices.Equal(got, want) {
		d.t.Errorf("asked for %q, want %q", got, want)
	}
}

var freshRequests = []string{"2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"}

func TestRefreshAsksForEachRoleOnceAndKeepsIt(t *testing.T) {
	d := newDevice(t)
	d.trusts("root 1")
	d.asked()
	d.must(d.refresh())
	d.asked(freshRequests...)
	d.trusts("root 1", "snapshot 1", "targets 1", "timestamp 1")
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if b, err := os.ReadFile(filepath.Join(d.dir, role+".json")); err != nil || string(b) != string(d.r.Latest(role)) {
			t.Errorf("%s.json is not the bytes that were served: %v", role, err)
		}
	}
	d.must(d.refresh())
	d.asked("2.root.json", "timestamp.json")
}

func TestDownloadRefreshesFirst(t *testing.T) {
	d := newDevice(t)
	if err := d.download("nothing of that name"); !errors.Is(err, ErrNoTarget) {
		t.Errorf("got %v", err)
	}
	d.asked(freshRequests...)
	d.trusts("root 1", "snapshot 1", "targets 1", "timestamp 1")
}

func TestInitialRootThatIsNone(t *testing.T) {
	for name, bend := range map[string]func(string) string{
		"without a version": func(s string) string { return strings.Replace(s, `"version":1`, `"x":1`, 1) },
		"wrongly signed":    func(s string) string { return strings.Replace(s, `"sig":"`, `"sig":"00`, 1) },
		"of another type":   func(s string) string { return strings.Replace(s, `"_type":"root"`, `"_type":"targets"`, 1) },
		"altered afterwards": func(s string) string {
			return strings.Replace(s, `"consistent_snapshot":true`, `"consistent_snapshot":false`, 1)
		},
		"empty": func(string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			r := trusttest.New(start)
			d := &device{t: t, r: r, dir: t.TempDir(), now: start}
			good := string(r.Latest(metadata.ROOT))
			bad := bend(good)
			if bad == good {
				t.Fatal("nothing was bent")
			}
			if d.init([]byte(bad)) == nil {
				t.Error("it was taken")
			}
			d.trusts()
			d.mustFail(d.refresh(), "no trusted root")
			d.asked()
		})
	}
}

// Each role in turn is not what it should be; those before it in the workflow are taken, it is not.
func TestWorkflowStopsAtTheFirstBadRole(t *testing.T) {
	before := map[string][]string{
		metadata.ROOT:      {"root 1"},
		metadata.TIMESTAMP: {"root 2"},
		metadata.SNAPSHOT:  {"root 2", "timestamp 2"},
		metadata.TARGETS:   {"root 2", "snapshot 2", "timestamp 2"},
	}
	all := []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP}
	for role, trusted := range before {
		t.Run(role+" unsigned", func(t *testing.T) {
			d := newDevice(t)
			d.r.Signers[role] = nil
			d.r.Publish(all...)
			d.mustFail(d.refresh(), "not enough signatures")
			d.trusts(trusted...)
		})
		if role == metadata.TIMESTAMP {
			continue // has no version in its name
		}
		t.Run(role+" of another version than its name says", func(t *testing.T) {
			d := newDevice(t)
			d.r.Publish(all...)
			d.r.Publish(role)
			d.r.Files["2."+role+".json"] = d.r.Files["3."+role+".json"]
			d.mustFail(d.refresh(), "version")
			d.trusts(trusted...)
		})
	}
}

func TestTimestampOfAVersionThatIsHeldDoesNotReplaceIt(t *testing.T) {
	d := newDevice(t)
	d.must(d.refresh())
	held := d.r.Latest(metadata.TIMESTAMP)
	d.r.Timestamp.Signed.Meta["snapshot.json"].Version = 100
	d.r.Forget(metadata.TIMESTAMP)
	d.r.Publish(metadata.TIMESTAMP)
	d.r.Asked()
	d.must(d.refresh())
	d.asked("2.root.json", "timestamp.json")
	if b, _ := os.ReadFile(filepath.Join(d.dir, "timestamp.json")); string(b) != string(held) {
		t.Errorf("timestamp.json is now %s", b)
	}
}

func TestSnapshotAndTimestampMayListHashesAndLengths(t *testing.T) {
	d := newDevice(t)
	d.r.HashedSnapshot, d.r.HashedTargets = true, true
	d.r.PublishAll(metadata.TARGETS)
	d.must(d.refresh())
	d.r.Publish(metadata.TARGETS)
	d.r.Snapshot.Signed.Meta["targets.json"].Hashes["sha256"][0] ^= 1
	d.r.PublishAll()
	d.mustFail(d.refresh(), "hash")
	d.trusts("root 1", "snapshot 3", "targets 2", "timestamp 3")
	d.r.Publish(metadata.TARGETS)
	d.r.Snapshot.Signed.Meta["targets.json"].Length++
	d.r.PublishAll()
	d.mustFail(d.refresh(), "length")
	d.trusts("root 1", "snapshot 4", "targets 2", "timestamp 4")
}

func TestTargetsThatTheSnapshotDoesNotNameAreNotAskedFor(t *testing.T) {
	d := newDevice(t)
	d.must(d.refresh())
	d.r.Publish(metadata.TARGETS)
	d.r.Asked()
	d.must(d.refresh())
	d.asked("2.root.json", "timestamp.json")
	d.trusts("root 1", "snapshot 1", "targets 1", "timestamp 1")
}

func TestBytesAreKeptAsTheyCame(t *testing.T) {
	d := newDevice(t)
	d.r.Bend(metadata.TIMESTAMP, func(b []byte) []byte { return append(b, ' ', '\n') })
	d.must(d.refresh())
	if b, _ := os.ReadFile(filepath.Join(d.dir, "timestamp.json")); string(b) != string(d.r.Latest(metadata.TIMESTAMP)) {
		t.Errorf("timestamp.json is %q", b)
	}
}

func TestFileThatIsNotThere(t *testing.T) {
	d := newDevice(t)
	d.must(d.refresh())
	d.r.Asked()
	d.r.Timestamp.Signed.Meta["snapshot.json"].Version = 2
	d.r.Publish(metadata.TIMESTAMP)
	d.mustFail(d.refresh(), "2.snapshot.json")
	d.asked("2.root.json", "timestamp.json", "2.snapshot.json")
	d.trusts("root 1", "snapshot 1", "targets 1", "timestamp 2")
	d.r.Snapshot.Signed.Meta["targets.json"].Version = 2
	d.r.PublishAll()
	d.mustFail(d.refresh(), "2.targets.json")
	d.trusts("root 1", "snapshot 2", "targets 1", "timestamp 3")
	d.r.Forget(metadata.TIMESTAMP)
	d.mustFail(d.refresh(), "timestamp.json")
}

func TestMetadataOfAnotherTypeInTheirPlace(t *testing.T) {
	d := newDevice(t)
	// A snapshot that is a valid timestamp but for its type, signed by the timestamp's key too.
	d.r.Signers[metadata.SNAPSHOT] = append(d.r.Signers[metadata.SNAPSHOT], d.r.Signers[metadata.TIMESTAMP]...)
	d.r.Snapshot.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": metadata.MetaFile(1)}
	d.r.Publish(metadata.ROOT, metadata.SNAPSHOT)
	snapshot := d.r.Latest(metadata.SNAPSHOT)
	d.r.Bend(metadata.TIMESTAMP, func([]byte) []byte { return snapshot })
	d.mustFail(d.refresh(), "type")
	d.trusts("root 2")
}

func TestEachRoleExpires(t *testing.T) {
	past := start.Add(-day)
	for role, trusted := range map[string][]string{
		metadata.ROOT:      {"root 2", "snapshot 1", "targets 1", "timestamp 1"},
		metadata.TIMESTAMP: {"root 2", "snapshot 1", "targets 1", "timestamp 1"},
		metadata.SNAPSHOT:  {"root 2", "snapshot 1", "targets 1", "timestamp 2"},
		metadata.TARGETS:   {"root 2", "snapshot 2", "targets 1", "timestamp 2"},
	} {
		t.Run(role, func(t *testing.T) {
			d := newDevice(t)
			d.must(d.refresh())
			switch role {
			case metadata.ROOT:
				d.r.Root.Signed.Expires = past
			case metadata.TIMESTAMP:
				d.r.Timestamp.Signed.Expires = past
			case metadata.SNAPSHOT:
				d.r.Snapshot.Signed.Expires = past
			case metadata.TARGETS:
				d.r.Targets[role].Signed.Expires = past
			}
			d.r.Publish(metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP)
			var e *ExpiredError
			if err := d.refresh(); !errors.As(err, &e) || e.Role != role {
				t.Errorf("got %v", err)
			}
			d.trusts(trusted...)
		})
	}
}

// What is held has expired by the time that the repository has something newer.
func TestHeldMetadataThatExpiredAreReplaced(t *testing.T) {
	d := newDevice(t)
	d.must(d.refresh())
	d.now = start.Add(40 * day)
	if err := d.refresh(); err == nil {
		t.Error("expired metadata were taken")
	}
	later := start.Add(60 * day)
	d.r.Root.Signed.Expires, d.r.Timestamp.Signed.Expires = later, later
	d.r.Snapshot.Signed.Expires, d.r.Targets[metadata.TARGETS].Signed.Expires = later, later
	d.r.Publish(metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP)
	d.must(d.refresh())
	d.trusts("root 2", "snapshot 2", "targets 2", "timestamp 2")
}

func TestMoreRootsThanOneRunTakes(t *testing.T) {
	d := newDevice(t)
	for range maxRoots + 3 {
		d.r.Publish(metadata.ROOT)
	}
	d.must(d.refresh())
	d.trusts(fmt.Sprintf("root %d", 1+maxRoots), "snapshot 1", "targets 1", "timestamp 1")
	d.must(d.refresh())
	d.trusts(fmt.Sprintf("root %d", 4+maxRoots), "snapshot 1", "targets 1", "timestamp 1")
}

func TestWithoutConsistentSnapshots(t *testing.T) {
	d := newDevice(t)
	d.r.Root.Signed.ConsistentSnapshot = false
	d.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "a/b", Paths: []string{"x/*"}})
	d.r.Add("a/b", "x/file", "content")
	d.r.Publish(metadata.ROOT)
	d.r.PublishAll("a/b", metadata.TARGETS)
	d.must(d.download("x/file"))
	metadataAsked, targets := d.r.Asked()
	if want := []string{"2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json", "a%2Fb.json"}; !slices.Equal(metadataAsked, want) {
		t.Errorf("asked for %q, want %q", metadataAsked, want)
	}
	if !slices.Equal(targets, []string{"x/file"}) {
		t.Errorf("fetched %q", targets)
	}
	d.trusts("a%2Fb 1", "root 2", "snapshot 2", "targets 2", "timestamp 2")
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}
