package serve

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/ask"
)

// nextRoot puts a second root into the store: with new keys for all roles but root, or with the old ones.
func (f *fleet) nextRoot(anew bool) {
	f.t.Helper()
	if anew {
		f.RotateBins(f.Rotate(metadata.TARGETS))
		f.Rotate(metadata.SNAPSHOT)
		f.Rotate(metadata.TIMESTAMP)
	}
	f.Publish(metadata.ROOT)
	f.save()
}

// Between the root that drops a key and the timestamp that the next key signs there is an instant, or as long as it takes
// somebody to run reconcile again.
func TestARootIsKeptBackUntilWhatItsKeysSignedIsThere(t *testing.T) {
	f, _ := standardFleet(t)
	running := start(t, f)
	f.nextRoot(true)
	check(t, running.server.releases.Follow(t.Context()))
	between := func(w *site, host caller) {
		t.Helper()
		if r := w.get(host, schema.MetadataPath+"2.root.json"); r.status != http.StatusNotFound {
			t.Errorf("root 2: %d", r.status)
		}
		if a, _ := w.poll(host, schema.PollRequest{}); a.Root != 1 || f.stampOf(a, 0) == nil {
			t.Errorf("poll: %+v", a)
		}
		if h := w.health(); h.Status != "ok" || h.Timestamp != 1 || h.Root != 1 {
			t.Errorf("healthz: %+v", h)
		}
	}
	host := running.register("web01")
	between(running, host)
	started := start(t, f)
	between(started, started.register("web01"))

	f.publish()
	for _, w := range []*site{running, started} {
		check(t, w.server.releases.Follow(t.Context()))
		host := w.register("web01")
		if r := w.get(host, schema.MetadataPath+"2.root.json"); r.status != http.StatusOK {
			t.Errorf("root 2: %d", r.status)
		}
		if h := w.health(); h.Status != "ok" || h.Timestamp != 2 || h.Root != 2 {
			t.Errorf("healthz: %+v", h)
		}
	}
}

func TestARootByWhichTheReleaseStillVerifiesIsServedWithoutANewTimestamp(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	host := w.register("web01")
	f.nextRoot(false)
	check(t, w.server.releases.Follow(t.Context()))
	if a, _ := w.poll(host, schema.PollRequest{}); a.Root != 2 {
		t.Errorf("poll: %+v", a)
	}
	if r := w.get(host, schema.MetadataPath+"2.root.json"); r.status != http.StatusOK {
		t.Errorf("root 2: %d", r.status)
	}
}

// After a restore reconcile steps over the numbers that hosts have seen.
func TestAGapInTheNumbersOfTimestampsIsFollowed(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	f.Targets[metadata.TARGETS].Signed.Version += 1000
	f.Snapshot.Signed.Version += 1000
	f.Timestamp.Signed.Version += 1000
	f.publish()
	check(t, w.server.releases.Follow(t.Context()))
	if h := w.health(); h.Status != "ok" || h.Timestamp != 1002 {
		t.Errorf("healthz: %+v", h)
	}
}

func TestTheHighestTimestampThatTheServerHasServedIsPrinted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store-inventory.db")
	seen := func(flags ...string) (out, beside string, err error) {
		var stdout, stderr strings.Builder
		c := ask.Seen()
		c.SetArgs(append(flags, "--store", strings.TrimSuffix(file, "-inventory.db")))
		c.SetOut(&stdout)
		c.SetErr(&stderr)
		err = c.ExecuteContext(t.Context())
		return stdout.String(), stderr.String(), err
	}
	if _, _, err := seen(); err == nil || fault.HintOf(err) == "" {
		t.Errorf("no database: %v", err)
	}
	f, _ := standardFleet(t)
	f.publish()
	w := startWith(t, f, file, nil)
	c := w.register("web01")
	w.poll(c, schema.PollRequest{MetadataVersions: held(499_999_999_999, 1)}) // which nobody published
	w.stop()
	out, beside, err := seen()
	check(t, err)
	if out != "2\n" || !strings.HasPrefix(beside, "web01 claims timestamp 499999999999, root 1, at ") {
		t.Errorf("printed %q and %q", out, beside)
	}
	out, _, err = seen("--json")
	check(t, err)
	if !strings.Contains(out, `"timestamp": 2,`) || !strings.Contains(out, `"timestamp": 499999999999,`) {
		t.Errorf("printed %s", out)
	}
}
