package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/durable/durabletest"
	"bakehouse/serve/store"
)

const key = "segments/ab/abcd"

func TestClearingTemporaryFilesSparesALiveWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.Create(context.Background(), key, r) }()
	if _, err := w.Write([]byte("half ")); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, ".tmp", ".tmp-AAAAAAAAAAAAAAAAAAAAAAAAAA")
	if err := os.WriteFile(stale, []byte("of a dead writer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, dir); len(left) != 2 {
		t.Errorf("beside a live writer: %v", left)
	}
	if _, err := w.Write([]byte("whole")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatalf("the live writer was hurt: %v", err)
	}
	if b, err := store.Read(t.Context(), s, key, 100); err != nil || string(b) != "half whole" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := store.Open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, dir); len(left) != 0 {
		t.Errorf("once the writer is done: %v", left)
	}
}

func TestObjectsAreReadableByTheirOwnerOnly(t *testing.T) {
	dir := published(t, 1)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestALinkOrAPipeInTheStoreIsNotFollowed(t *testing.T) {
	dir := published(t, 1)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, pipe := filepath.Join(dir, "segments/aa"), filepath.Join(dir, "segments/pipe")
	if err := errors.Join(os.Symlink(secret, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"segments/aa", "segments/pipe"} {
		if r, err := s.Open(t.Context(), key); err == nil {
			r.Close()
			t.Errorf("%s was opened", key)
		}
	}
	for _, name := range objectNames(t, s) {
		if strings.HasPrefix(name, "segments/aa ") || strings.HasPrefix(name, "segments/pipe ") {
			t.Errorf("%s was listed", name)
		}
	}
}

func TestAFullDiskIsOneErrorWithAHint(t *testing.T) {
	s, err := store.OpenDisk(published(t, 1), (&durabletest.Faults{At: 3, Err: syscall.ENOSPC}).Disk())
	if err != nil {
		t.Fatal(err)
	}
	checkFull(t, publish(t.Context(), s, 2))
}

func checkFull(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(schema.HintOf(err), "is full") {
		t.Errorf("error %v, hint %q", err, schema.HintOf(err))
	}
}

// mountTmpfs mounts a tmpfs of 1 MB, which only root may.
func mountTmpfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		missing(t, "cannot mount a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// missing skips a test for want of a tool, or fails it where everything must run.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("BAKEHOUSE_TEST_ALL") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func TestOnAReallyFullDiskThePublishedReleaseStays(t *testing.T) {
	dir := filepath.Join(mountTmpfs(t), "store")
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(t.Context(), s, 1); err != nil {
		t.Fatal(err)
	}
	before := objectNames(t, s)
	big := bytes.Repeat([]byte("x"), 2<<20)
	err = store.CreateBytes(t.Context(), s, key, big)
	checkFull(t, err)
	if n := strings.Count(err.Error(), "no space left"); n != 1 {
		t.Errorf("not one clear error: %v", err)
	}
	if after := objectNames(t, s); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("the store went from\n%s\nto\n%s", before, after)
	}
	if left := leftovers(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	checkRelease(t, s, 1)
	if err := publish(t.Context(), s, 2); err != nil {
		t.Errorf("with the space free again: %v", err)
	}
}

func TestAReadOnlyStoreCanBeReadAndSaysWhyItCannotBeWritten(t *testing.T) {
	mount := mountTmpfs(t)
	dir := filepath.Join(mount, "store")
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(t.Context(), s, 1); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, ".tmp", ".tmp-AAAAAAAAAAAAAAAAAAAAAAAAAA")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, err = store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	checkRelease(t, s, 1)
	_, lockErr := store.Lock(t.Context(), s)
	for what, err := range map[string]error{
		"Create":                  store.CreateBytes(t.Context(), s, key, nil),
		"Create in new directory": store.CreateBytes(t.Context(), s, "new/dir/x", nil),
		"Delete":                  s.Delete(t.Context(), schema.TimestampKey(1)),
		"Lock":                    lockErr,
	} {
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(schema.HintOf(err), "read-only") {
			t.Errorf("%s: error %v, hint %q", what, err, schema.HintOf(err))
		}
	}
	if err := store.CreateBytes(t.Context(), s, schema.TimestampKey(1), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of what is there: %v", err)
	}
	if left := leftovers(t, dir); len(left) != 1 {
		t.Errorf("the stale file: %v", left)
	}
}

func TestALocationThatIsNoStoreIsOneErrorWithAHint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for location, want := range map[string]string{
		file:                     "is not a directory",
		file + "/below":          "is not a directory",
		"":                       "no directory",
		"s3://bucket":            `knows no "s3://"`,
		"https://user:pass@host": `knows no "https://"`,
	} {
		_, err := store.Open(t.Context(), location)
		if err == nil || !strings.Contains(err.Error(), want) || schema.HintOf(err) == "" {
			t.Errorf("%q: error %v, hint %q", location, err, schema.HintOf(err))
		}
		if err != nil && strings.Contains(err.Error()+schema.HintOf(err), "pass@") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
	if _, err := store.OpenExisting(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) || schema.HintOf(err) == "" {
		t.Errorf("OpenExisting: %v, hint %q", err, schema.HintOf(err))
	}
	if _, err := store.OpenExisting(t.Context(), "file://"+published(t, 1)); err != nil {
		t.Error(err)
	}
}

func TestOpeningAStoreThatIsNotThereMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	objectNames(t, s)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
