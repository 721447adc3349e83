package serve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema"
)

// A store from a backup was published into plainly, and its head has a number that was served with other bytes.
func TestTheSameNumberWithOtherBytesIsNotTakenForTheSame(t *testing.T) {
	t.Parallel()
	f, _ := standardFleet(t)
	f.publish()
	backup := filepath.Join(t.TempDir(), "backup")
	check(t, os.CopyFS(backup, os.DirFS(f.dir)))
	snapshot, targets := f.Snapshot.Signed.Version, f.Timestamp.Signed.Version
	f.publish()
	database := filepath.Join(t.TempDir(), "i.db")
	w := startWith(t, f, database, nil)
	served := f.read(schema.TimestampKey(3))

	other := append(served[:len(served):len(served)], '\n') // as valid, and not the same
	f.overwrite(schema.TimestampKey(3), other)
	degraded := func(w *site, timestamp int64, want string) {
		t.Helper()
		h := w.health()
		if h.Status != "degraded" || h.Timestamp != timestamp || !strings.Contains(h.Problem, want) ||
			!strings.Contains(h.Problem, "bakehouse reconcile recover --above 3") {
			t.Errorf("healthz: %+v", h)
		}
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	w.server.noteTrouble(w.server.releases.Follow(t.Context()))
	degraded(w, 3, "the same number, other bytes")
	w.stop()

	// After a restart, too, and as long as that goes on.
	w = startWith(t, f, database, nil)
	degraded(w, 3, "the same number, other bytes")
	if err := w.server.releases.Follow(t.Context()); err == nil {
		t.Error("at the second look it is as it should be")
	}
	w.stop()
	f.removeKey(schema.TimestampKey(3))
	w = startWith(t, f, database, nil)
	degraded(w, 2, "the store's newest timestamp is 2, and there was 3 before")

	// A release above all that was served ends it, whatever is below.
	f.overwriteNew(schema.TimestampKey(3), other)
	f.Timestamp.Signed.Version = targets + 1000
	f.Snapshot.Signed.Version = snapshot + 1000
	f.publish()
	check(t, w.server.releases.Follow(t.Context()))
	if h := w.health(); h.Status != "ok" || h.Timestamp != targets+1001 {
		t.Errorf("healthz: %+v", h)
	}
}

func (f *fleet) overwriteNew(key string, b []byte) {
	f.t.Helper()
	check(f.t, os.WriteFile(filepath.Join(f.dir, filepath.FromSlash(key)), b, 0o600))
}

// A thief of the key signed a huge number. A root that drops the key makes hosts forget it, and the server too.
func TestANumberThatADroppedKeySignedIsForgotten(t *testing.T) {
	t.Parallel()
	f, _ := standardFleet(t)
	database := filepath.Join(t.TempDir(), "i.db")
	was := f.Timestamp.Signed.Version
	f.Timestamp.Signed.Version = 7_000_000
	f.publish()
	w := startWith(t, f, database, nil)
	if h := w.health(); h.Timestamp != 7_000_001 {
		t.Fatalf("healthz: %+v", h)
	}
	f.removeKey(schema.TimestampKey(7_000_001))
	if err := w.server.releases.Follow(t.Context()); err == nil {
		t.Error("the number is forgotten though its key is trusted")
	}
	f.Timestamp.Signed.Version = was
	f.nextRoot(true)
	f.publish()
	check(t, w.server.releases.Follow(t.Context()))
	ok := func(w *site) {
		t.Helper()
		if h := w.health(); h.Status != "ok" || h.Root != 2 || h.Timestamp != was+1 {
			t.Errorf("healthz: %+v", h)
		}
	}
	ok(w)
	w.stop()
	ok(startWith(t, f, database, nil))
}
