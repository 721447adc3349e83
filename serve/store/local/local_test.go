package local_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bakehouse/schema/durable/durabletest"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
	"bakehouse/serve/store/storetest"
)

const key = "segments/ab/abcd"

func TestClearingTemporaryFilesSparesALiveWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := stores.Open(t.Context(), dir)
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
	if _, err := stores.Open(t.Context(), dir); err != nil {
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
	if _, err := stores.Open(t.Context(), dir); err != nil {
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
	s, err := stores.Open(t.Context(), dir)
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
	s, err := openDisk(published(t, 1), (&durabletest.Faults{At: 3, Err: syscall.ENOSPC}).Disk())
	if err != nil {
		t.Fatal(err)
	}
	checkFull(t, storetest.Publish(t.Context(), s, 2))
}

func checkFull(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "is full") {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
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
		"gs://bucket":            `knows no "gs://"`,
		"https://user:pass@host": "holds credentials",
		"http://user:pass@host":  `knows no "http://"`,
	} {
		_, err := stores.Open(t.Context(), location)
		if err == nil || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%q: error %v, hint %q", location, err, fault.HintOf(err))
		}
		if err != nil && strings.Contains(err.Error()+fault.HintOf(err), "pass@") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	if _, err := stores.OpenExisting(t.Context(), none); !errors.Is(err, fs.ErrNotExist) || fault.HintOf(err) == "" {
		t.Errorf("OpenExisting: %v, hint %q", err, fault.HintOf(err))
	}
	if _, err := stores.OpenExisting(t.Context(), "file://"+published(t, 1)); err != nil {
		t.Error(err)
	}
}

func TestOpeningAStoreThatIsNotThereMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := stores.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	objectNames(t, s)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
