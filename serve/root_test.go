package serve

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
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
	check(t, running.server.releases.follow(t.Context()))
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
		check(t, w.server.releases.follow(t.Context()))
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
	check(t, w.server.releases.follow(t.Context()))
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
	check(t, w.server.releases.follow(t.Context()))
	if h := w.health(); h.Status != "ok" || h.Timestamp != 1002 {
		t.Errorf("healthz: %+v", h)
	}
}

func TestTheHighestTimestampThatAHostReportedIsPrinted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "inventory.db")
	seen := func() (out, beside string, err error) {
		var stdout, stderr strings.Builder
		c := seenCommand()
		c.SetArgs([]string{"--database", file})
		c.SetOut(&stdout)
		c.SetErr(&stderr)
		err = c.ExecuteContext(t.Context())
		return stdout.String(), stderr.String(), err
	}
	if _, _, err := seen(); err == nil || fault.HintOf(err) == "" {
		t.Errorf("no database: %v", err)
	}
	db, err := inventory.Open(t.Context(), file)
	check(t, err)
	if _, _, err := seen(); err == nil || !strings.Contains(fault.HintOf(err), "bakehouse-agent status") {
		t.Errorf("no reports: %v", err)
	}
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for host, version := range map[string]int64{"web01": 41, "web02": 42, "db01": 7} {
		check(t, db.Report(host, inventory.Seen{At: at, Timestamp: version, Root: 2}))
	}
	check(t, db.Close())
	out, beside, err := seen()
	check(t, err)
	if out != "42\n" || !strings.HasPrefix(beside, "web02\ttimestamp 42, root 2, at 2030-01-02T03:04:05Z\nweb01\t") {
		t.Errorf("printed %q and %q", out, beside)
	}
}
