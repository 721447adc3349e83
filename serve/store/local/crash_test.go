package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/durable/durabletest"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/stores"
	"bakehouse/serve/store/storetest"
)

// checkRelease holds that s, which has release n-1, has it or release n whole, and nothing that is altered or missing.
func checkRelease(t *testing.T, s store.Store, n int64) {
	t.Helper()
	head, err := store.Head(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if head != n-1 && head != n {
		t.Errorf("the head is %d, neither %d nor %d", head, n-1, n)
	}
	sum, err := maintain.Fsck(t.Context(), s, true, func(f maintain.Finding) {
		if !f.Note {
			t.Errorf("fsck: %s: %v", f.Key, f.Err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if sum.Head != head {
		t.Errorf("fsck says head %d, Head says %d", sum.Head, head)
	}
	for v := int64(1); v <= head; v++ {
		for _, o := range storetest.Release(v) {
			if b, err := store.Read(t.Context(), s, o.Key, 1<<20); err != nil || !bytes.Equal(b, o.Data) {
				t.Errorf("release %d: %s is not what was published (%v)", v, o.Key, err)
			}
		}
	}
}

func published(t *testing.T, releases int64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	s, err := stores.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= releases; n++ {
		if err := storetest.Publish(t.Context(), s, n); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// objectNames is the tree of a store, temporary files aside, to compare stores with.
func objectNames(t *testing.T, s store.Store) (names []string) {
	t.Helper()
	for e, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprint(e.Key, " ", e.Size))
	}
	return names
}

func TestWhicheverCallFailsThePublishedReleaseIsTheOldOrTheNewOne(t *testing.T) {
	t.Parallel()
	clean := &durabletest.Faults{At: -1}
	s, err := openDisk(published(t, 1), clean.Disk())
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.Publish(t.Context(), s, 2); err != nil {
		t.Fatal(err)
	}
	want := objectNames(t, s)
	before := published(t, 1)
	for at, call := range clean.Calls() {
		for _, mode := range durabletest.Modes {
			t.Run(fmt.Sprintf("%d %s %s", at, call.Name, mode), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(before)); err != nil {
					t.Fatal(err)
				}
				s, err := openDisk(dir, (&durabletest.Faults{At: at, Mode: mode}).Disk())
				if err != nil {
					t.Fatal(err)
				}
				failed := storetest.Publish(t.Context(), s, 2)
				forgiven := call.Name == "unlink" // of a temporary file
				if failed == nil && !forgiven {
					t.Errorf("the failed %s was not reported", call.Name)
				}
				if failed != nil && !errors.Is(failed, syscall.EIO) {
					t.Errorf("the error says something else: %v", failed)
				}
				reopened, err := openDisk(dir, (&durabletest.Faults{At: -1}).Disk())
				if err != nil {
					t.Fatal(err)
				}
				checkRelease(t, reopened, 2)
				if err := storetest.Publish(t.Context(), reopened, 2); err != nil {
					t.Fatalf("running again: %v", err)
				}
				if got := objectNames(t, reopened); strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Errorf("running again made\n%s\nwant\n%s", got, want)
				}
				if left := leftovers(t, dir); len(left) > 0 {
					t.Errorf("left in .tmp after opening again: %v", left)
				}
			})
		}
	}
}

func leftovers(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, ".tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestEachObjectSurvivesAPowerCutOnceCreateHasReturned(t *testing.T) {
	base := t.TempDir()
	cut, err := durabletest.NewPowerCut(base)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "made/by/create")
	s, err := openDisk(dir, cut.Disk())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range append(storetest.Release(1), storetest.Release(2)...) { // with objects that are there already
		if err := store.CreateBytes(t.Context(), s, o.Key, o.Data); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		if err := cut.Check(filepath.Join(dir, o.Key)); err != nil {
			t.Error(err)
		}
	}
	if err := s.DeleteBatch(t.Context(), []string{schema.TimestampKey(2)}); err != nil {
		t.Fatal(err)
	}
	if err := cut.Check(filepath.Join(dir, schema.TimestampKey(2))); err != nil {
		t.Error(err)
	}
	bulk := []string{schema.MetadataKey("targets", 2), schema.MetadataKey("snapshot", 2)}
	if err := s.DeleteBatch(t.Context(), bulk); err != nil {
		t.Fatal(err)
	}
	for _, key := range bulk {
		if err := cut.Check(filepath.Join(dir, key)); err != nil {
			t.Error(err)
		}
	}
	for _, text := range cut.Broken() {
		t.Error(text)
	}
}

func TestAnObjectOfADeadProcessIsMadeDurableByTheNext(t *testing.T) {
	base := t.TempDir()
	cut, err := durabletest.NewPowerCut(base)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "store")
	died := errors.New("died")
	// A process that syncs no directory stands for one that dies before it does.
	dying := durable.Disk{Around: func(c durable.Call, do func() error) error {
		if c.Name != "fsyncdir" {
			return cut.Disk().Around(c, do)
		}
		if filepath.Base(c.Path) == "ab" {
			return died
		}
		return nil
	}}
	s, err := openDisk(dir, dying)
	if err != nil {
		t.Fatal(err)
	}
	const key = "segments/ab/abcd"
	if err := store.CreateBytes(t.Context(), s, key, []byte("x")); !errors.Is(err, died) {
		t.Fatal(err)
	}
	if cut.Check(filepath.Join(dir, key)) == nil {
		t.Fatal("the object is durable too early for this test to mean anything")
	}
	s, err = openDisk(dir, cut.Disk())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateBytes(t.Context(), s, key, []byte("x")); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if err := cut.Check(filepath.Join(dir, key)); err != nil {
		t.Error(err)
	}
}

const (
	crashDir     = "BAKEHOUSE_TEST_CRASH_DIR"
	crashRelease = "BAKEHOUSE_TEST_CRASH_RELEASE"
	crashAt      = "BAKEHOUSE_TEST_CRASH_AT"
)

// crashChild publishes a release and kills its own process at a given system call: at 2n before call n, at 2n+1 after
// it. It returns at once if this process is not that child.
func crashChild() {
	dir, ok := os.LookupEnv(crashDir)
	if !ok {
		return
	}
	at, _ := strconv.Atoi(os.Getenv(crashAt))
	n, _ := strconv.ParseInt(os.Getenv(crashRelease), 10, 64)
	die := func() {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal is delivered
	}
	step := 0
	disk := durable.Disk{Around: func(c durable.Call, do func() error) error {
		if step == at {
			die()
		}
		var err error
		if !strings.HasPrefix(c.Name, "fsync") { // a killed process loses nothing that it wrote
			err = do()
		}
		step++
		if step == at {
			die()
		}
		step++
		return err
	}}
	s, err := openDisk(dir, disk)
	if err == nil {
		err = storetest.Publish(context.Background(), s, n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// One store lives through all the crashes, so that what they leave adds up.
func TestAKilledReconcileLeavesTheOldOrTheNewRelease(t *testing.T) {
	t.Parallel()
	const runs = 25
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := published(t, 1)
	clean := &durabletest.Faults{At: -1}
	s, err := openDisk(published(t, 1), clean.Disk())
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.Publish(t.Context(), s, 2); err != nil {
		t.Fatal(err)
	}
	steps := 2 * len(clean.Calls())
	next, killed := int64(2), 0
	for range runs {
		at := random.IntN(steps * 100 / 85) // about 15 % finish
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir, crashAt+"="+strconv.Itoa(at),
			crashRelease+"="+strconv.FormatInt(next, 10))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
			killed++
		case err != nil:
			t.Fatalf("%v: %s", err, out)
		}
		s, err := stores.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		checkRelease(t, s, next)
		if left := leftovers(t, dir); len(left) > 0 {
			t.Errorf("killed at step %d: left in .tmp after opening: %v", at, left)
		}
		head, err := store.Head(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err == nil && exit == nil && head != next {
			t.Errorf("it finished, but the head is %d", head)
		}
		next = head + 1
		if t.Failed() {
			t.Fatalf("killed at step %d of release %d", at, next)
		}
	}
	if killed == 0 {
		t.Error("no run was killed")
	}
	t.Logf("%d of %d runs killed, %d releases published", killed, runs, next-1)
}
