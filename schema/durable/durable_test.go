package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"

	"bakehouse/schema/durable"
	"bakehouse/schema/durable/durabletest"
)

// tree is what lies below a directory: content by relative path, "dir/" and "-> target" for what is no file. Temporary
// files are left out, for nothing ever reads them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir || durable.IsTemp(e.Name()) {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case e.IsDir():
			all[rel] = "dir/"
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			all[rel] = "-> " + to
			return err
		default:
			b, err := os.ReadFile(path)
			all[rel] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

type state = map[string]string

var long = strings.Repeat("content in two writes ", 10)

// operations are all changes, each from a state to a state.
var operations = []struct {
	name     string
	old, new state
	do       func(d durable.Disk, dir string) error
	again    error // what doing it a second time says
}{
	{"WriteFile makes a file", state{}, state{"f": "new"},
		func(d durable.Disk, dir string) error {
			return d.WriteFile(filepath.Join(dir, "f"), []byte("new"), 0o640)
		}, nil},
	{"WriteFile replaces a file", state{"f": "old"}, state{"f": "new"},
		func(d durable.Disk, dir string) error {
			return d.WriteFile(filepath.Join(dir, "f"), []byte("new"), 0o600)
		}, nil},
	{"WriteFile replaces a link, not what it leads to", state{"g": "kept", "f": "-> g"}, state{"g": "kept", "f": "new"},
		func(d durable.Disk, dir string) error {
			return d.WriteFile(filepath.Join(dir, "f"), []byte("new"), 0o600)
		}, nil},
	{"Create makes a file of several writes", state{}, state{"f": long},
		func(d durable.Disk, dir string) error {
			return d.Create(filepath.Join(dir, "f"), iotest.HalfReader(iotest.DataErrReader(strings.NewReader(long))), 0o600)
		}, fs.ErrExist},
	{"Symlink makes a link", state{}, state{"l": "-> a"},
		func(d durable.Disk, dir string) error { return d.Symlink("a", filepath.Join(dir, "l")) }, nil},
	{"Symlink replaces a link", state{"l": "-> a"}, state{"l": "-> b"},
		func(d durable.Disk, dir string) error { return d.Symlink("b", filepath.Join(dir, "l")) }, nil},
	{"Rename replaces a file in another directory", state{"x": "dir/", "y": "dir/", "x/f": "new", "y/f": "old"},
		state{"x": "dir/", "y": "dir/", "y/f": "new"},
		func(d durable.Disk, dir string) error {
			return d.Rename(filepath.Join(dir, "x/f"), filepath.Join(dir, "y/f"))
		}, fs.ErrNotExist},
	{"Batch replaces one file", state{"f": "old"}, state{"f": "new"},
		func(d durable.Disk, dir string) error {
			b := durable.Batch{Disk: d}
			defer b.Discard()
			if err := b.Write(filepath.Join(dir, "f"), []byte("new"), 0o600); err != nil {
				return err
			}
			return b.Commit(false)
		}, nil},
	{"Remove removes a file", state{"f": "old"}, state{},
		func(d durable.Disk, dir string) error { return d.Remove(filepath.Join(dir, "f")) }, fs.ErrNotExist},
}

func setUp(t *testing.T, s state) string {
	t.Helper()
	dir := t.TempDir()
	for _, kind := range []func(path, v string) error{
		func(path, v string) error { // directories first
			if v == "dir/" {
				return os.Mkdir(path, 0o700)
			}
			return nil
		},
		func(path, v string) error {
			if to, ok := strings.CutPrefix(v, "-> "); ok {
				return os.Symlink(to, path)
			}
			if v == "dir/" {
				return nil
			}
			return os.WriteFile(path, []byte(v), 0o600)
		},
	} {
		for name, v := range s {
			if err := kind(filepath.Join(dir, name), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestAfterAnyFailedCallTheOldOrTheNewStateIsThere(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			clean := &durabletest.Faults{At: -1}
			dir := setUp(t, op.old)
			if err := op.do(clean.Disk(), dir); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, dir); !maps.Equal(got, op.new) {
				t.Fatalf("without a fault: %v, want %v", got, op.new)
			}
			if err := op.do(durable.Disk{}, dir); !errors.Is(err, op.again) {
				t.Errorf("done again: %v, want %v", err, op.again)
			}
			for at, call := range clean.Calls() {
				for _, mode := range durabletest.Modes {
					t.Run(fmt.Sprintf("%d %s %s", at, call.Name, mode), func(t *testing.T) {
						dir := setUp(t, op.old)
						faults := &durabletest.Faults{At: at, Mode: mode}
						err := op.do(faults.Disk(), dir)
						hit, ok := faults.Hit()
						if !ok {
							t.Fatal("the fault was never met")
						}
						got := tree(t, dir)
						isOld, isNew := maps.Equal(got, op.old), maps.Equal(got, op.new)
						if !isOld && !isNew {
							t.Fatalf("neither old nor new: %v", got)
						}
						if err == nil && !isNew {
							t.Errorf("reported as done, but: %v", got)
						}
						// Only the unlink of a temporary name may fail without a word.
						if forgiven := hit.Name == "unlink" && durable.IsTemp(filepath.Base(hit.Path)) && mode != durabletest.Dead; err == nil && !forgiven {
							t.Errorf("the failed %s was not reported", hit.Name)
						}
						if err := op.do(durable.Disk{}, dir); err != nil && !(isNew && errors.Is(err, op.again)) {
							t.Errorf("once the disk is well again: %v", err)
						}
						if got := tree(t, dir); !maps.Equal(got, op.new) {
							t.Errorf("once the disk is well again: %v", got)
						}
						if err := durable.Sweep(dir); err != nil {
							t.Error(err)
						}
						if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
							t.Errorf("left after Sweep: %v", left)
						}
					})
				}
			}
		})
	}
}

func TestMkdirAllFailsCleanlyAtEveryStep(t *testing.T) {
	clean := &durabletest.Faults{At: -1}
	if err := clean.Disk().MkdirAll(filepath.Join(t.TempDir(), "a/b/c"), 0o750); err != nil {
		t.Fatal(err)
	}
	for at, call := range clean.Calls() {
		for _, mode := range durabletest.Modes {
			dir := filepath.Join(t.TempDir(), "a/b/c")
			if err := (&durabletest.Faults{At: at, Mode: mode}).Disk().MkdirAll(dir, 0o750); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s %s: %v", call.Name, mode, err)
			}
			if err := durable.MkdirAll(dir, 0o750); err != nil {
				t.Errorf("again after %s %s: %v", call.Name, mode, err)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
				t.Errorf("after %s %s: %v %v", call.Name, mode, info, err)
			}
		}
	}
}

func TestWhatWasReportedAsDoneSurvivesAPowerCut(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			dir := setUp(t, op.old)
			cut, err := durabletest.NewPowerCut(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := op.do(cut.Disk(), dir); err != nil {
				t.Fatal(err)
			}
			for _, names := range []state{op.old, op.new} {
				for name := range names {
					if err := cut.Check(filepath.Join(dir, name)); err != nil {
						t.Error(err)
					}
				}
			}
			for _, text := range cut.Broken() {
				t.Error(text)
			}
		})
	}
	t.Run("MkdirAll makes three levels", func(t *testing.T) {
		dir := t.TempDir()
		cut, err := durabletest.NewPowerCut(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := cut.Disk().MkdirAll(filepath.Join(dir, "a/b/c"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := cut.Check(filepath.Join(dir, "a/b/c")); err != nil {
			t.Error(err)
		}
	})
}

func TestThatAFileExistsIsOnlySaidOnceItIsDurable(t *testing.T) {
	dir := t.TempDir()
	cut, err := durabletest.NewPowerCut(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "f")
	died := errors.New("died")
	other := durable.Disk{Around: func(c durable.Call, do func() error) error {
		if c.Name == "fsyncdir" {
			return died
		}
		return cut.Disk().Around(c, do)
	}}
	if err := other.Create(path, strings.NewReader("x"), 0o600); !errors.Is(err, died) {
		t.Fatal(err)
	}
	if cut.Check(path) == nil {
		t.Fatal("the name is durable too early for this test to mean anything")
	}
	if err := cut.Disk().Create(path, strings.NewReader("y"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if err := cut.Check(path); err != nil {
		t.Error(err)
	}
}

func TestASecretIsNeverReadableByOthersEvenWhileBeingWritten(t *testing.T) {
	dir := t.TempDir()
	disk := durable.Disk{Around: func(c durable.Call, do func() error) error {
		err := do()
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if info, statErr := e.Info(); statErr == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("after %s, %s has mode %v", c.Name, e.Name(), info.Mode())
			}
		}
		return err
	}}
	if err := disk.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCreateHasOneWinnerAndItsBytesStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	const contenders = 16
	var won atomic.Int64
	var winner atomic.Value
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range contenders {
		group.Go(func() {
			<-start
			content := fmt.Sprintf("of %d", i)
			switch err := durable.Create(path, strings.NewReader(content), 0o600); {
			case err == nil:
				won.Add(1)
				winner.Store(content)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	close(start)
	group.Wait()
	b, err := os.ReadFile(path)
	if won.Load() != 1 || err != nil || !bytes.Equal(b, []byte(winner.Load().(string))) {
		t.Errorf("%d winners, the file is %q (%v)", won.Load(), b, err)
	}
}

func TestAReaderThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("connection lost")
	err := durable.Create(filepath.Join(dir, "f"), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), 0o600)
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

func TestAPlainFileWhereADirectoryShouldBeIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(path, 0o700); err == nil {
		t.Error("MkdirAll took a file for a directory")
	}
	if err := durable.MkdirAll(filepath.Join(path, "x"), 0o700); err == nil {
		t.Error("MkdirAll made a directory in a file")
	}
}
