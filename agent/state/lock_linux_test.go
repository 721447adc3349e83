package state

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// What the user saw: an update right after another one said that one was under way. A child that some other goroutine
// has forked holds all open files until its exec; a duplicate of the lock's descriptor stands for it.
func TestAnUpdateRightAfterAnotherIsNotCalledTheSecondAtOnce(t *testing.T) {
	f := Files{Root: t.TempDir()}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	unlock, err := f.Lock()
	if err != nil {
		t.Fatal(err)
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != f.Stored("lock") {
			continue
		}
		fd, err := strconv.Atoi(filepath.Base(link))
		if err != nil {
			t.Fatal(err)
		}
		duplicate, err := syscall.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(duplicate)
		found = true
		break
	}
	if !found {
		t.Fatal("the lock's descriptor is not in /proc/self/fd")
	}
	unlock()
	unlock, err = f.Lock()
	if err != nil {
		t.Fatalf("the next update: %v", err)
	}
	unlock()
}
