package publish

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// altered is a folder store whose files the test may reach.
func altered(t *testing.T) (store.Store, string) {
	t.Helper()
	dir := t.TempDir()
	st, err := stores.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return st, dir
}

func rewrite(t *testing.T, path string, how func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, how(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A store is as hostile to reconcile as a server is to a host: nothing in it is signed again unverified.
func TestAlteredStoreIsRefused(t *testing.T) {
	flip := func(b []byte) []byte {
		b = slices.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	for name, alter := range map[string]func(t *testing.T, dir string, f *testFleet){
		"timestamp": func(t *testing.T, dir string, _ *testFleet) {
			rewrite(t, filepath.Join(dir, schema.TimestampKey(2)), flip)
		},
		"an old timestamp on top": func(t *testing.T, dir string, _ *testFleet) {
			b, err := os.ReadFile(filepath.Join(dir, schema.TimestampKey(1)))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, schema.TimestampKey(3)), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"snapshot": func(t *testing.T, dir string, _ *testFleet) {
			rewrite(t, filepath.Join(dir, schema.MetadataKey("snapshot", 2)), flip)
		},
		"targets": func(t *testing.T, dir string, _ *testFleet) {
			rewrite(t, filepath.Join(dir, schema.MetadataKey("targets", 2)), flip)
		},
		"a bin that no changed host is in": func(t *testing.T, dir string, _ *testFleet) {
			rewrite(t, filepath.Join(dir, schema.MetadataKey("bin-0", 1)), flip)
		},
		"a bin swapped for another": func(t *testing.T, dir string, _ *testFleet) {
			rewrite(t, filepath.Join(dir, schema.MetadataKey("bin-0", 1)), func([]byte) []byte {
				b, err := os.ReadFile(filepath.Join(dir, schema.MetadataKey("snapshot", 1)))
				if err != nil {
					t.Fatal(err)
				}
				return b
			})
		},
		"policy": func(t *testing.T, dir string, _ *testFleet) {
			for _, path := range glob(t, filepath.Join(dir, "targets", "*", "*")) {
				rewrite(t, path, flip)
			}
		},
		"root": func(t *testing.T, dir string, f *testFleet) {
			rewrite(t, filepath.Join(dir, schema.MetadataKey("root", 1)), flip)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			st, dir := altered(t)
			f.mustPublish(st, next(start, want("web01", "a")))
			f.mustPublish(st, next(start.Add(time.Hour), want("web01", "b")))
			alter(t, dir, f)
			if _, err := Read(t.Context(), st, f.Fleet, start.Add(2*time.Hour)); !fault.IsRefusal(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %q, %v", pattern, paths, err)
	}
	return paths
}

func TestStoreOfAnotherFleetIsRefused(t *testing.T) {
	f, other, st := newFleet(t), newFleet(t), openStore(t)
	other.mustPublish(st, next(start, want("web01", "a")))
	if _, err := Read(t.Context(), st, f.Fleet, start); !fault.IsRefusal(err) {
		t.Errorf("got %v", err)
	}
}

func TestRepoThatIsBehindTheStoreIsAnError(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	old := *f.Fleet
	f.mustPublish(st, next(start, want("web01", "a")))
	keys := f.Keys
	old.Keys = map[string]*fleet.Key{}
	for n, k := range keys {
		old.Keys[n] = k
	}
	f.rotate("timestamp")
	f.mustPublish(st, next(start.Add(time.Hour), want("web01", "a")))
	if _, err := Read(t.Context(), st, &old, start.Add(time.Hour)); err == nil ||
		!strings.Contains(err.Error(), "trust/ lacks") {
		t.Errorf("got %v", err)
	}
}

func TestRootAndKeysThatDisagreeStopBeforeAnyWork(t *testing.T) {
	for name, bend := range map[string]func(f *testFleet){
		"a key more":            func(f *testFleet) { f.addKey("extra", "targets") },
		"a key gone":            func(f *testFleet) { delete(f.Keys, "snapshot") },
		"another fleet's name":  func(f *testFleet) { f.Name = "other" },
		"a use given to a key":  func(f *testFleet) { f.Keys["package"].Uses = []string{"package", "root"} },
		"an anchor beyond them": func(f *testFleet) { f.AnchorVersion = 2 },
		"no root":               func(f *testFleet) { f.Roots = nil },
		"a root that is no root": func(f *testFleet) {
			f.Roots = [][]byte{bytes.Replace(f.Roots[0], []byte(`"threshold": 1`), []byte(`"threshold": 2`), 1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, st := newFleet(t), openStore(t)
			bend(f)
			if _, err := Read(t.Context(), st, f.Fleet, start); err == nil || fault.HintOf(err) == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestExpiredRootStopsReconcile(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	var e *trust.ExpiredError
	if _, err := Read(t.Context(), st, f.Fleet, start.Add(366*day)); !errors.As(err, &e) || e.Role != "root" {
		t.Errorf("got %v", err)
	}
}

func TestExpiredKeyDoesNotSign(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.Keys["targets"].Expires = start.Add(-time.Second)
	_, err := f.publish(st, next(start, want("web01", "a")))
	if err == nil || !strings.Contains(err.Error(), "key targets expired at") {
		t.Errorf("got %v", err)
	}
}

// failing fails every Create from the k-th on; before or after it took effect.
type failing struct {
	store.Store
	mu    sync.Mutex
	left  int
	after bool
}

var errDisk = errors.New("no space left on device")

func (s *failing) Create(ctx context.Context, key string, r io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left--; s.left >= 0 {
		return s.Store.Create(ctx, key, r)
	}
	if s.after && s.left == -1 {
		if err := s.Store.Create(ctx, key, r); err != nil {
			return err
		}
	}
	return errDisk
}

func TestCrashAfterEachWriteLeavesOldOrNewAndTheNextRunConverges(t *testing.T) {
	f, base := newFleet(t), memStore{}
	f.mustPublish(base, next(start, want("web01", "a"), want("db01", "x")))
	for _, after := range []bool{false, true} {
		for k := 0; ; k += needs.Every(1) {
			st := maps.Clone(base)
			h := f.host(st, "", start)
			h.mustGet(t, "web01", "a")
			n := next(start.Add(time.Hour), want("web01", "b"), want("db01", "y"), want("new01", "z"))
			n.Policy.Enabled = false
			bad := &failing{Store: st, left: k, after: after}
			_, err := f.publish(bad, n)
			done := err == nil
			if !done && !errors.Is(err, errDisk) {
				t.Fatalf("crash at write %d: %v", k, err)
			}
			h.now = n.Now
			a, err := h.get(t, "web01")
			if err != nil {
				t.Fatalf("crash at write %d: the host is refused: %v", k, err)
			}
			isNew := a.SHA256 == schema.DigestOf([]byte("b"))
			if !isNew && a.SHA256 != schema.DigestOf([]byte("a")) || isNew == h.c.Policy().Enabled {
				t.Errorf("crash at write %d: neither old nor new: %+v, enabled %t", k, a, h.c.Policy().Enabled)
			}
			n.Now = n.Now.Add(time.Minute)
			f.mustPublish(st, n)
			h.now = n.Now
			h.mustGet(t, "web01", "b")
			if b := h.mustGet(t, "db01", "y"); b.Release != 2 {
				t.Errorf("crash at write %d: db01 is at release %d", k, b.Release)
			}
			if sum := f.mustPublish(st, n); sum.Published {
				t.Errorf("crash at write %d: not settled: %+v", k, sum)
			}
			if done {
				if k < 7 {
					t.Errorf("only %d writes were met", k)
				}
				break
			}
		}
	}
}

func TestFirstPublishCrashes(t *testing.T) {
	for k := 0; ; k++ {
		f, st := newFleet(t), memStore{}
		_, err := f.publish(&failing{Store: st, left: k}, next(start, want("web01", "a")))
		f.mustPublish(st, next(start.Add(time.Minute), want("web01", "a")))
		f.host(st, "", start.Add(time.Minute)).mustGet(t, "web01", "a")
		if err == nil {
			break
		}
	}
}

func TestOfTwoPublishersOneWins(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.mustPublish(st, next(start, want("web01", "a")))
	var states [2]*State
	for i := range states {
		var err error
		if states[i], err = Read(t.Context(), st, f.Fleet, start.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, pkg := range []string{"b", "c"} {
		wg.Go(func() {
			_, errs[i] = states[i].Publish(t.Context(), st, f.keys,
				next(start.Add(time.Hour), want("web01", pkg)).Wanted)
		})
	}
	wg.Wait()
	winner := slices.Index(errs, nil)
	if winner < 0 || errs[1-winner] == nil {
		t.Fatalf("want one winner: %v", errs)
	}
	if err := errs[1-winner]; !strings.Contains(err.Error(), "another run published version 2") ||
		fault.HintOf(err) == "" || fault.IsRefusal(err) {
		t.Errorf("the loser is told: %v", err)
	}
	h := f.host(st, "", start.Add(time.Hour))
	h.mustGet(t, "web01", []string{"b", "c"}[winner])
	f.mustPublish(st, next(start.Add(2*time.Hour), want("web01", "d")))
	h.now = start.Add(2 * time.Hour)
	h.mustGet(t, "web01", "d")
}
