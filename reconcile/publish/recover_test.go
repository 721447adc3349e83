package publish

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/keys"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/stores"
)

// recover publishes as reconcile does with the flags that say what happened to the store.
func (f *testFleet) recover(st store.Store, n release, r Recovery) (*Summary, error) {
	f.t.Helper()
	f.recovery = r
	defer func() { f.recovery = Recovery{} }()
	return f.publish(st, n)
}

func TestHostsComeBackAfterTheirStoreWasRestoredFromABackup(t *testing.T) {
	k := kitchen{sameFleet(t), t}
	f := k.f
	dir, backup := filepath.Join(t.TempDir(), "store"), t.TempDir()
	open := func(dir string) store.Store {
		st, err := stores.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	state := t.TempDir()
	given := func(dir string, n int64) (*schema.Assignment, error) {
		h := f.host(open(dir), state, start.Add(time.Duration(n)*time.Minute))
		return h.get(t, "web01")
	}
	for n := int64(1); n <= 4; n++ {
		if err := k.reconcile(open(dir), n); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			if err := os.CopyFS(filepath.Join(backup, "store"), os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	last, err := given(dir, 4)
	if err != nil {
		t.Fatal(err)
	}

	// The backup is in its place. What is published from it as if nothing had happened, hosts have seen.
	dir = filepath.Join(backup, "store")
	if err := k.reconcile(open(dir), 5); err != nil {
		t.Fatal(err)
	}
	var rollback *trust.RollbackError
	if _, err := given(dir, 5); !errors.As(err, &rollback) || !strings.Contains(fault.HintOf(err), "recover --above") {
		t.Fatalf("the host took what it has seen: %v", err)
	}

	f.recovery = Recovery{Seen: 4}
	if err := k.reconcile(open(dir), 6); err != nil {
		t.Fatal(err)
	}
	a, err := given(dir, 6)
	if err != nil {
		t.Fatal(err)
	}
	standing := schema.Standing{Installed: last.SHA256, Release: last.Release}
	policy := &schema.Policy{Enabled: true, Rings: []schema.Ring{{Name: "all"}}}
	if v := policy.Decide(a, standing, start.Add(time.Hour)); !v.Install() || v.Package.SHA256 != a.SHA256 {
		t.Errorf("the host is given release %d over release %d, and decides %s: %s", a.Release, last.Release, v.Code,
			v.Why)
	}

	// From then on all is as ever, with a gap in the numbers.
	f.recovery = Recovery{}
	for n := int64(7); n <= 8; n++ {
		if err := k.reconcile(open(dir), n); err != nil {
			t.Fatal(err)
		}
		if _, err := given(dir, n); err != nil {
			t.Errorf("release %d: %v", n, err)
		}
	}
	head, err := store.Head(t.Context(), open(dir))
	if err != nil || head != 4+recoveryMargin+3 {
		t.Errorf("head %d, %v", head, err)
	}
	h, err := maintain.OpenHistory(t.Context(), open(dir), f.Roots[0])
	if err != nil || !slices.Equal(h.Versions(), []int64{head, head - 1, head - 2, 2, 1}) {
		t.Fatalf("history: %v", err)
	}
	for _, v := range h.Versions() {
		if _, err := h.At(t.Context(), v); err != nil {
			t.Errorf("state %d: %v", v, err)
		}
	}
	report, err := maintain.GC(t.Context(), open(dir), maintain.GCOptions{Anchor: f.Roots[0], Keep: 1})
	if err != nil || report.Head != head {
		t.Errorf("gc: %+v, %v", report, err)
	}
	sum, err := maintain.Fsck(t.Context(), open(dir), true, func(f maintain.Finding) {
		if !f.Note {
			t.Errorf("fsck: %s: %v", f.Key, f.Err)
		}
	})
	if err != nil || sum.Head != head {
		t.Errorf("fsck: head %d, %v", sum.Head, err)
	}
	if _, err := given(dir, 8); err != nil {
		t.Errorf("after gc: %v", err)
	}
}

// What an unchanged package keeps is the time from which a ring's delay counts; its number is above all that was lost.
func TestARestoredHostKeepsItsPackageUnderANewNumber(t *testing.T) {
	f, st := newFleet(t), memStore{}
	f.mustPublish(st, next(start, want("web01", "a")))
	sum, err := f.recover(st, next(start.Add(time.Hour), want("web01", "a")), Recovery{Seen: 70})
	if err != nil || !sum.Published || len(sum.Hosts) != 0 || len(sum.Roles) != testBins+3 {
		t.Fatalf("%+v, %v", sum, err) // also bins without a host had a higher version
	}
	a := f.host(st, "", start.Add(time.Hour)).mustGet(t, "web01", "a")
	if a.Release <= 70 || !a.Since.Equal(start) {
		t.Errorf("release %d since %s", a.Release, a.Since)
	}
	if again := f.mustPublish(st, next(start.Add(2*time.Hour), want("web01", "a"))); again.Published ||
		again.Number != a.Release {
		t.Errorf("not settled: %+v", again)
	}
}

// There was no backup: the store is empty.
func TestHostsComeBackToAStoreThatWasMadeAnew(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.mustPublish(st, next(start, want("web01", "a")))
	f.mustPublish(st, next(start, want("web01", "b")))
	f.host(st, dir, start).mustGet(t, "web01", "b")
	st = memStore{}
	if _, err := f.recover(st, next(start.Add(time.Hour), want("web01", "c")), Recovery{Seen: 2}); err != nil {
		t.Fatal(err)
	}
	f.host(st, dir, start.Add(time.Hour)).mustGet(t, "web01", "c")
	for _, seen := range []int64{-1, schema.MaxTimestampVersion} {
		if _, err := f.recover(st, next(start, want("web01", "c")), Recovery{Seen: seen}); err == nil {
			t.Errorf("version %d accepted", seen)
		}
	}
}

func TestAFleetThatNobodyRenewedForYearsIsSignedAnewFromTheCommit(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.mustPublish(st, next(start, want("web01", "old")))
	f.mustPublish(st, next(start.Add(time.Hour), want("web01", "a"), want("db01", "b")))
	f.host(st, dir, start.Add(time.Hour)).mustGet(t, "web01", "a")
	later := start.Add(800 * day) // the root has expired as well
	f.now = later
	if _, err := f.publish(st, next(later, want("web01", "a"))); err == nil ||
		!strings.Contains(fault.HintOf(err), "next root") {
		t.Fatalf("with an expired root: %v", err)
	}
	f.nextRoot()
	var expired *trust.ExpiredError
	if _, err := f.publish(st, next(later, want("web01", "a"))); !errors.As(err, &expired) ||
		!strings.Contains(fault.HintOf(err), "--after-expiry") {
		t.Fatalf("expired targets: %v", err)
	}
	if _, err := f.recover(st, next(later, want("web01", "a")), Recovery{Expired: true}); err != nil {
		t.Fatal(err)
	}
	a := f.host(st, dir, later).mustGet(t, "web01", "a")
	if a.Release != 3 || !a.Since.Equal(later) || len(a.Older) != 0 {
		t.Errorf("taken over from an expired state: %+v", a)
	}
	f.host(st, dir, later).mustGet(t, "db01", "")
	if sum := f.mustPublish(st, next(later, want("web01", "a"))); sum.Published {
		t.Errorf("not settled: %+v", sum)
	}
}

func TestBinsFallDueOnManyDays(t *testing.T) {
	f, st := newFleet(t), memStore{}
	f.mustPublish(st, next(start, want("web01", "a")))
	renewed := map[string]int{}
	for d := 130; d < 200; d++ {
		sum := f.mustPublish(st, next(start.Add(time.Duration(d)*day), want("web01", "a")))
		bins := 0
		for _, role := range sum.Roles {
			if strings.HasPrefix(role, schema.BinPrefix) {
				bins++
				renewed[role]++
				if d < 365/2-365/binSpread-1 {
					t.Errorf("day %d: %s renewed so early", d, role)
				}
			}
		}
		if bins > 2 {
			t.Errorf("day %d: %d of %d bins renewed", d, bins, testBins)
		}
		if len(sum.Aging) > 0 {
			t.Errorf("day %d: %v", d, sum.Aging)
		}
	}
	if len(renewed) != testBins {
		t.Errorf("renewed: %v", renewed)
	}
}

func TestWhatARunCannotRenewIsTold(t *testing.T) {
	f, st := newFleet(t), memStore{}
	f.Lifetimes.Root = 3 * 365 * day
	f.remakeRoot()
	f.mustPublish(st, next(start, want("web01", "a")))
	later := start.Add(200 * day)
	s, err := Read(t.Context(), st, f.Fleet, later)
	if err != nil {
		t.Fatal(err)
	}
	told := func(all []Aging) (roles []string) {
		for _, a := range all {
			roles = append(roles, a.Role)
		}
		return roles
	}
	if got := told(s.Aging()); !slices.Equal(got, []string{"targets", "bins", "snapshot", "timestamp"}) {
		t.Errorf("before the run: %q", got)
	}
	if err := os.Remove(filepath.Join(f.dir, "targets.key")); err != nil {
		t.Fatal(err)
	}
	sum := f.mustPublish(st, next(later, want("web01", "a")))
	if got := told(sum.Aging); !slices.Equal(got, []string{"targets", "bins"}) || sum.Aging[1].Count != testBins ||
		!sum.Aging[0].Expires.Equal(start.Add(365*day)) {
		t.Errorf("after it: %+v", sum.Aging)
	}
	if sum.Due.After(later) {
		t.Errorf("nothing due before %s: a note of that would hide what is told", sum.Due)
	}
	if text := sum.Aging[1].String(); !strings.Contains(text,
		"of 8 bins that were not renewed the first expires on 2027-03-01") {
		t.Errorf("told as %q", text)
	}
}

// The schedule's machine has two keys, and what it cannot do it says.
func TestRefreshNeedsNoKeyThatGivesHostsPackages(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.mustPublish(st, next(start, want("web01", "a")))
	for _, use := range []string{"targets", "root", "package"} {
		if err := os.Remove(filepath.Join(f.dir, use+".key")); err != nil {
			t.Fatal(err)
		}
	}
	refresh := func(now time.Time) *Summary {
		t.Helper()
		s, err := ReadHead(t.Context(), st, f.Fleet, now)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := s.Refresh(t.Context(), st, f.keys)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if sum := refresh(start.Add(day)); !slices.Equal(sum.Roles, []string{"timestamp"}) || sum.Head != 2 ||
		len(sum.Aging) != 0 {
		t.Errorf("on the first day: %+v", sum)
	}
	// keys/ and trust/ are on their way to another root, and the schedule goes on
	f.addKey("new", "root", "targets")
	broken := *f.Fleet
	broken.Roots = append(slices.Clone(f.Roots), []byte("{}"))
	f.Fleet = &broken
	if sum := refresh(start.Add(20 * day)); !slices.Equal(sum.Roles, []string{"snapshot", "timestamp"}) ||
		sum.Number != 1 {
		t.Errorf("on day 20: %+v", sum)
	}
	h := f.host(st, dir, start.Add(20*day))
	h.mustGet(t, "web01", "a")

	if err := os.Remove(filepath.Join(f.dir, "snapshot.key")); err != nil {
		t.Fatal(err)
	}
	sum := refresh(start.Add(40 * day))
	if !slices.Equal(sum.Roles, []string{"timestamp"}) || len(sum.Aging) != 1 || sum.Aging[0].Role != "snapshot" {
		t.Errorf("without the snapshot's key: %+v", sum)
	}
	if err := os.Remove(filepath.Join(f.dir, "timestamp.key")); err != nil {
		t.Fatal(err)
	}
	s, err := ReadHead(t.Context(), st, f.Fleet, start.Add(41*day))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Refresh(t.Context(), st, f.keys); err == nil || fault.HintOf(err) == "" {
		t.Errorf("without any key: %v", err)
	}
	if _, err := ReadHead(t.Context(), memStore{}, f.Fleet, start); err == nil || fault.HintOf(err) == "" {
		t.Errorf("of an empty store: %v", err)
	}
}

func TestRefreshDoesNotVouchForAnAlteredStore(t *testing.T) {
	f := newFleet(t)
	st, dir := altered(t)
	f.mustPublish(st, next(start, want("web01", "a")))
	rewrite(t, filepath.Join(dir, schema.MetadataKey("bin-0", 1)), func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":7`), 1)
	})
	if _, err := ReadHead(t.Context(), st, f.Fleet, start); !fault.IsRefusal(err) {
		t.Errorf("got %v", err)
	}
}

// A key of targets is dropped, while the other one that signed the top level stays: what the dropped one signed in a
// bin is not carried forward.
func TestBinsOfADroppedKeyAreNotCarriedForward(t *testing.T) {
	f, st := newFleet(t), memStore{}
	f.addKey("alpha", "targets") // comes first in order, and so signs
	f.nextRoot()
	f.keys = f.ring()
	f.mustPublish(st, next(start, want("web01", "a"), want("db01", "b")))
	// Who has alpha's key and the store puts a package of their own into a bin.
	s, err := Read(t.Context(), st, f.Fleet, start)
	if err != nil {
		t.Fatal(err)
	}
	role := *s.root.Signed.Roles[metadata.TARGETS]
	other := *f.Fleet
	other.Keys = maps.Clone(f.Keys)
	delete(other.Keys, "alpha")
	top, err := metadata.Targets().FromBytes(st[schema.MetadataKey("targets", 1)])
	if err != nil {
		t.Fatal(err)
	}
	if st[schema.MetadataKey("targets", 1)], err = keys.SignRole(f.ringOf(&other), top, &role); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), st, f.Fleet, start); !fault.IsRefusal(err) ||
		!strings.Contains(err.Error(), "1.targets.json") {
		t.Errorf("another file than the snapshot's tree names: %v", err)
	}
	f.plant(st)
	delete(f.Keys, "alpha")
	f.nextRoot()
	f.keys = f.ring()
	if s, err = Read(t.Context(), st, f.Fleet, start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if s.root.VerifyDelegate(metadata.TARGETS, s.targets) != nil || len(s.assignments) != 0 {
		t.Errorf("carried forward: %v", s.assignments)
	}
	f.mustPublish(st, next(start.Add(time.Hour), want("web01", "a"), want("db01", "b")))
	f.host(st, "", start.Add(time.Hour)).mustGet(t, "web01", "a")
}

// server is a store as package serve shows it to hosts: what was loaded last, and no root after that release's.
type server struct {
	trust.Source
	f     *testFleet
	st    store.Store
	c     *trust.Client
	stamp []byte
	root  int64
}

func (f *testFleet) server(st store.Store) *server {
	f.t.Helper()
	c, err := trust.Open("", f.Roots[0], func() time.Time { return start })
	if err != nil {
		f.t.Fatal(err)
	}
	c.AllowExpired()
	s := &server{f: f, st: st, c: c, Source: storeSource(st)}
	s.look()
	return s
}

func (s *server) look() {
	if s.c.Refresh(s.f.t.Context(), storeSource(s.st), nil) == nil {
		s.root, _ = s.c.Versions()
		s.stamp = s.c.Timestamp()
	}
}

func (s *server) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == "timestamp.json" {
		return s.stamp, nil
	}
	if v, ok := strings.CutSuffix(name, ".root.json"); ok && v > string(rune('0'+s.root)) {
		return nil, fs.ErrNotExist
	}
	return s.Source.Metadata(ctx, name, limit)
}

// onlooker calls see before and after each object that is created, but for bins.
type onlooker struct {
	store.Store
	see func()
}

func (o onlooker) Create(ctx context.Context, key string, r io.Reader) error {
	if !strings.Contains(key, schema.BinPrefix) {
		o.see()
		defer o.see()
	}
	return o.Store.Create(ctx, key, r)
}

func TestOnlineKeysAreReplacedUnderHostsThatPollAtAnyInstant(t *testing.T) {
	every := needs.Every(4) // of the writes that a run may die at
	for _, uses := range [][]string{{"root"}, {"timestamp", "snapshot", "targets"}} {
		for fail := 0; ; fail += every {
			f, base := newFleet(t), memStore{}
			f.mustPublish(base, next(start, want("web01", "a")))
			srv := f.server(base)
			old := f.host(base, t.TempDir(), start)
			old.src = srv
			old.mustGet(t, "web01", "a")
			f.rotate(uses[0])
			for _, use := range testUses[1:] {
				f.Roots = f.Roots[:1]
				f.rotate(use)
			}
			polls := 0
			poll := func() {
				polls++
				srv.look()
				old.mustGet(t, "web01", "a")
				fresh := f.host(base, "", start)
				fresh.src = srv
				fresh.mustGet(t, "web01", "a")
			}
			n := next(start.Add(time.Minute), want("web01", "a"))
			_, err := f.publish(&failing{Store: onlooker{base, poll}, left: fail}, n)
			poll()
			if err != nil {
				n.Now = n.Now.Add(time.Minute)
				f.mustPublish(base, n)
				poll()
			}
			if root, _ := old.c.Versions(); root != 2 {
				t.Errorf("%v: dead after %d writes: the host is at root %d", uses, fail, root)
			}
			if sum := f.mustPublish(base, n); sum.Published {
				t.Errorf("%v: dead after %d writes: not settled: %+v", uses, fail, sum)
			}
			if err == nil {
				if polls < 4 {
					t.Errorf("%v: %d polls", uses, polls)
				}
				break
			}
		}
	}
}
