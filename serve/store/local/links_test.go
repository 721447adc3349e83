package local_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Whoever may write to the store may not make others read or write what only they can.
func TestALinkInTheStoreLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]string{
		"a directory of objects": "segments", "the directory of files being written": ".tmp",
	} {
		t.Run(name, func(t *testing.T) {
			dir, outside := published(t, 1), t.TempDir()
			link := filepath.Join(dir, from)
			must(t, os.RemoveAll(link), os.MkdirAll(filepath.Join(outside, "aa"), 0o700),
				os.WriteFile(filepath.Join(outside, "aa/key"), []byte("secret"), 0o600), os.Symlink(outside, link))
			s, err := stores.Open(t.Context(), dir)
			must(t, err)
			if r, err := s.Open(t.Context(), "segments/aa/key"); err == nil {
				r.Close()
				t.Error("a file elsewhere was opened")
			}
			if err := store.CreateBytes(t.Context(), s, "segments/aa/new", []byte("x")); err == nil {
				t.Error("an object was created through the link")
			}
			_ = s.DeleteBatch(t.Context(), []string{"segments/aa/key"})
			if left, err := filepath.Glob(outside + "/*/*"); err != nil || len(left) != 1 {
				t.Errorf("elsewhere there is %v, %v", left, err)
			}
			if left, err := filepath.Glob(outside + "/*"); err != nil || len(left) != 1 {
				t.Errorf("elsewhere there is %v, %v", left, err)
			}
			for _, object := range objectNames(t, s) {
				if strings.HasPrefix(object, "segments/aa/") {
					t.Errorf("%s was listed", object)
				}
			}
		})
	}
	t.Run("the lock", func(t *testing.T) {
		dir, mine := published(t, 1), filepath.Join(t.TempDir(), "mine")
		lock := filepath.Join(dir, ".lock")
		must(t, os.WriteFile(mine, []byte("mine"), 0o600), os.RemoveAll(lock), os.Symlink(mine, lock))
		s, err := stores.Open(t.Context(), dir)
		must(t, err)
		if held, err := s.Lock(t.Context(), "test"); err == nil {
			t.Error("a lock elsewhere was taken", held.Release())
		}
		if b, err := os.ReadFile(mine); err != nil || string(b) != "mine" {
			t.Errorf("the file is %q, %v", b, err)
		}
	})
}

func TestALinkThatComesBetweenLookAndOpenIsNotFollowed(t *testing.T) {
	t.Parallel()
	dir := published(t, 1)
	secret, name := filepath.Join(t.TempDir(), "secret"), filepath.Join(dir, "segments/aa")
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	s, err := stores.Open(t.Context(), dir)
	must(t, err)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.WriteFile(file, []byte("object"), 0o600)
			_ = os.Rename(file, name)
			_ = os.Symlink(secret, link)
			_ = os.Rename(link, name)
		}
	}()
	for range 3000 {
		r, err := s.Open(t.Context(), "segments/aa")
		if err != nil {
			continue
		}
		b, err := io.ReadAll(r)
		if r.Close(); err == nil && string(b) == "secret" {
			t.Error("the secret was read")
			break
		}
	}
	close(stop)
	<-stopped
}

func TestAStoreThatWasPutInThePlaceOfAnotherIsRead(t *testing.T) {
	t.Parallel()
	dir, other := published(t, 1), published(t, 2)
	s, err := stores.Open(t.Context(), dir)
	must(t, err)
	checkRelease(t, s, 1)
	must(t, os.Rename(dir, dir+".old"), os.Rename(other, dir))
	checkRelease(t, s, 2)
}
