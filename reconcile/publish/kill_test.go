package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/stores"
)

// kitchen bakes, signs and publishes as reconcile does, without CUE and git around it.
type kitchen struct {
	f *testFleet
	t *testing.T
}

// agentFile is what all packages share.
var agentFile = strings.Repeat("the agent ", 500)

// Open implements bake.Sources: a file of the repo is here called by what is in it.
func (kitchen) Open(f fleet.File, _ schema.Platform) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(f.Repo)), nil
}

var kitchenHosts = []string{"web01", "web02", "db01"}

// recipe is the host's in release n. What is in it comes back after three or four releases, when gc may have taken it.
func (k kitchen) recipe(host string, n int64) *rules.Recipe {
	config := fmt.Appendf(nil, "%s %d %d", host, n%3, n%4)
	repo := func(path, text string) fleet.File {
		return fleet.File{Path: path, Mode: 0o755, SHA256: schema.DigestOf([]byte(text)), Size: int64(len(text)),
			Repo: text}
	}
	return &rules.Recipe{ID: schema.RecipeID(schema.DigestOf(config).Short()),
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Outputs: []*fleet.Output{
			{Plugin: "agent", Files: []fleet.File{repo("/usr/bin/agent", agentFile),
				{Path: "/etc/agent", Mode: 0o644, SHA256: schema.DigestOf(config), Size: int64(len(config)),
					Content: config}}},
			{Plugin: "probe", Files: []fleet.File{repo("/usr/lib/probe", fmt.Sprintf("probe %d", n%3))}},
		}}
}

// reconcile publishes release n.
func (k kitchen) reconcile(st store.Store, n int64) error {
	k.t.Helper()
	ctx := k.t.Context()
	st, unlock, err := store.WithLock(ctx, st, "reconcile")
	if err != nil {
		return err
	}
	defer unlock()
	baker := bake.New(st, k)
	defer baker.Close()
	anchor := schema.DigestOf(k.f.Roots[0])
	todo := next(start.Add(time.Duration(n) * time.Minute))
	todo.Release.Commit = fmt.Sprintf("commit %d", n)
	var baked []*bake.Baked
	for _, host := range kitchenHosts {
		b, err := baker.Bake(ctx, k.recipe(host, n), schema.Tgz, anchor)
		if err != nil {
			return err
		}
		baked = append(baked, b)
	}
	for i, b := range baked {
		if err := store.CreateBytes(ctx, st, schema.ManifestKey(b.Digest), b.Packed); err != nil &&
			!errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := Statement(ctx, st, k.f.keys, []string{"package"}, b.Manifest, b.Digest); err != nil {
			return err
		}
		a := want(kitchenHosts[i], "")
		a.SHA256, a.Length, a.Manifest, a.Recipe = b.Manifest.SHA256, b.Manifest.Size, b.Digest, b.Manifest.Recipe
		todo.Assignments = append(todo.Assignments, a)
	}
	_, err = k.f.publish(st, todo)
	return err
}

// mortal is a local store whose process dies at a step: 2n before its nth change, 2n+1 after it. Each deletion is a
// step.
type mortal struct {
	store.Store
	mu       sync.Mutex // bins are written several at a time
	step, at int
}

func (m *mortal) change(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.step == m.at {
		die()
	}
	err := do()
	if m.step+1 == m.at {
		die()
	}
	m.step += 2
	return err
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal is delivered
}

func (m *mortal) Create(ctx context.Context, key string, r io.Reader) error {
	return m.change(func() error { return m.Store.Create(ctx, key, r) })
}

func (m *mortal) DeleteBatch(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if err := m.change(func() error { return m.Store.DeleteBatch(ctx, []string{key}) }); err != nil {
			return err
		}
	}
	return nil
}

const (
	killDir     = "BAKEHOUSE_TEST_KILL_DIR"
	killAt      = "BAKEHOUSE_TEST_KILL_AT"
	killRelease = "BAKEHOUSE_TEST_KILL_RELEASE" // what to publish; 0: collect garbage
	killKeep    = "BAKEHOUSE_TEST_KILL_KEEP"
)

// A real process is killed before and after every object that it creates for a release, baking included. Whatever
// that leaves: nothing is wrong with the store, the next run publishes, and gc, killed at random itself, takes
// nothing needed. One store lives through it all, so that what the crashes leave adds up.
func TestABakeThatIsKilledAtEveryStepConvergesWithGCInBetween(t *testing.T) {
	k := kitchen{sameFleet(t), t}
	number := func(name string) int64 { n, _ := strconv.ParseInt(os.Getenv(name), 10, 64); return n }
	gc := func(st store.Store, keep int64) error {
		_, err := maintain.GC(t.Context(), st, maintain.GCOptions{Anchor: k.f.Roots[0], Keep: int(keep)})
		return err
	}
	if dir := os.Getenv(killDir); dir != "" {
		st, err := stores.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		m := &mortal{Store: st, at: int(number(killAt))}
		if n := number(killRelease); n > 0 {
			err = k.reconcile(m, n)
		} else {
			err = gc(m, number(killKeep))
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, litter := filepath.Join(t.TempDir(), "store"), t.TempDir() // what is killed does not tidy up
	// child runs this test in a process of its own and reports whether it was killed.
	child := func(settings ...string) bool {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), append(settings, killDir+"="+dir, "TMPDIR="+litter)...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return true
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return false
	}
	open := func() store.Store {
		t.Helper()
		st, err := stores.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	sound := func(what string, at int, allowed ...int64) (head int64) {
		t.Helper()
		sum, err := maintain.Fsck(t.Context(), open(), true, func(f maintain.Finding) {
			if !f.Note {
				t.Errorf("%s killed at step %d: %s: %v", what, at, f.Key, f.Err)
			}
		})
		if err != nil || sum.Head < allowed[0] || sum.Head > allowed[len(allowed)-1] || t.Failed() {
			t.Fatalf("%s killed at step %d: head %d, want %v; %v", what, at, sum.Head, allowed, err)
		}
		return sum.Head
	}
	published := int64(1)
	if err := k.reconcile(open(), published); err != nil {
		t.Fatal(err)
	}
	// A plain run kills at every seventh step, from another one each time: neighbours seldom differ in kind.
	stride := needs.Every(7)
	collected := 0
	for at := random.IntN(stride); ; at += stride {
		killed := child(killRelease+"="+strconv.FormatInt(published+1, 10), killAt+"="+strconv.Itoa(at))
		head := sound("a bake", at, published, published+1)
		if random.IntN(3) == 0 {
			collected++
			child(killKeep+"="+strconv.Itoa(1+random.IntN(3)), killAt+"="+strconv.Itoa(random.IntN(60)))
			sound("a gc", at, head)
			if err := gc(open(), 1+random.Int64N(3)); err != nil {
				t.Fatal(err)
			}
			sound("no gc", at, head)
		}
		if err := k.reconcile(open(), published+1); err != nil {
			t.Fatalf("after a bake killed at step %d: %v", at, err)
		}
		published = sound("no bake", at, published+1)
		if !killed {
			if at < 25 {
				t.Errorf("a release takes only %d steps", at)
			}
			t.Logf("%d steps, %d collections in between", at, collected)
			break
		}
	}
	if err := gc(open(), 1); err != nil {
		t.Fatal(err)
	}
	if sum, err := maintain.Fsck(t.Context(), open(), true,
		func(f maintain.Finding) { t.Errorf("left at the end: %s: %v", f.Key, f.Err) }); err != nil ||
		sum.Head != published {
		t.Fatalf("head %d, %v", sum.Head, err)
	}
	// Its packages are those of a store that nothing ever happened to.
	clean := memStore{}
	if err := k.reconcile(clean, published); err != nil {
		t.Fatal(err)
	}
	s, err := Read(t.Context(), open(), k.f.Fleet, start.Add(time.Duration(published)*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for host, a := range s.Assignments() {
		if _, ok := clean[schema.ManifestKey(a.Manifest)]; !ok {
			t.Errorf("%s has a package that its recipe does not make", host)
		}
	}
}
