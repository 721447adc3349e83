package local_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
	"bakehouse/serve/store/storetest"
)

// mountTmpfs mounts a tmpfs of 1 MB, which only root may.
func mountTmpfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		needs.Missing(t, "cannot mount a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestOnAReallyFullDiskThePublishedReleaseStays(t *testing.T) {
	dir := filepath.Join(mountTmpfs(t), "store")
	s, err := stores.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.Publish(t.Context(), s, 1); err != nil {
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
	if err := storetest.Publish(t.Context(), s, 2); err != nil {
		t.Errorf("with the space free again: %v", err)
	}
}

func TestAReadOnlyStoreCanBeReadAndSaysWhyItCannotBeWritten(t *testing.T) {
	mount := mountTmpfs(t)
	dir := filepath.Join(mount, "store")
	s, err := stores.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.Publish(t.Context(), s, 1); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, ".tmp", ".tmp-AAAAAAAAAAAAAAAAAAAAAAAAAA")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, err = stores.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	checkRelease(t, s, 1)
	_, lockErr := s.Lock(t.Context(), "test")
	for what, err := range map[string]error{
		"Create":                  store.CreateBytes(t.Context(), s, key, nil),
		"Create in new directory": store.CreateBytes(t.Context(), s, "new/dir/x", nil),
		"Delete":                  s.DeleteBatch(t.Context(), []string{schema.TimestampKey(1)}),
		"Lock":                    lockErr,
	} {
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(fault.HintOf(err), "read-only") {
			t.Errorf("%s: error %v, hint %q", what, err, fault.HintOf(err))
		}
	}
	if err := store.CreateBytes(t.Context(), s, schema.TimestampKey(1), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of what is there: %v", err)
	}
	if left := leftovers(t, dir); len(left) != 1 {
		t.Errorf("the stale file: %v", left)
	}
}
