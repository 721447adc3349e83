package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/report"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

// onDisk is a host that runs release 1, with its state directory on a file system of its own of that size.
func onDisk(t *testing.T, megabytes int) (*testfleet.Fleet, *host) {
	t.Helper()
	f := testfleet.New(t)
	f.Add("web01")
	h := newHost(t, f)
	if err := os.MkdirAll(h.files.Stored(), 0o700); err != nil {
		t.Fatal(err)
	}
	size := fmt.Sprintf("size=%dm,mode=0700", megabytes)
	if err := syscall.Mount("tmpfs", h.files.Stored(), "tmpfs", 0, size); err != nil {
		needs.Missing(t, "cannot mount a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(h.files.Stored(), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if _, err := h.Register(t.Context(), options(t, f, "web01")); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", version(f, "one"))
	h.update()
	return f, h
}

func TestAnUpdateThatTheDiskHasNoRoomForIsRefusedBeforeAnythingIsFetched(t *testing.T) {
	t.Parallel()
	f, h := onDisk(t, 24)
	s := spec("two")
	noise := make([]byte, 6<<20) // does not compress
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	s.Shared = map[string]string{"/usr/lib/acme/big": string(noise)}
	f.Give("web01", f.Pack(s))
	f.Requests()
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || !strings.Contains(err.Error(), "not enough disk space: "+h.files.Stored()+" has 2") ||
		!strings.Contains(err.Error(), " MB free and 29 MB are needed") || fault.HintOf(err) == "" {
		t.Errorf("%v, %s", err, r)
	}
	for _, q := range f.Requests() {
		if strings.Contains(q, schema.SegmentPath) {
			t.Errorf("%s although there is no room", q)
		}
	}
	h.runs("one")
	if err := syscall.Mount("tmpfs", h.files.Stored(), "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("two")
}

// fills is a narration that fills the disk at its n-th line.
type fills struct {
	io.Writer
	n    int
	file string
	said string // the line
}

func (f *fills) Write(p []byte) (int, error) {
	if f.n--; f.n == 0 {
		f.said = strings.TrimSpace(string(p))
		full, err := os.Create(f.file)
		for chunk := make([]byte, 4096); err == nil; {
			_, err = full.Write(chunk)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return 0, err
		}
		if err := full.Close(); err != nil {
			return 0, err
		}
	}
	return f.Writer.Write(p)
}

// Whatever step the disk becomes full at, the host runs the old package or the new one, its state can be read, the
// error is one, and the next update after somebody made room converges.
func TestADiskThatFillsUpAtAnyStepLeavesTheOldStateOrTheNew(t *testing.T) {
	t.Parallel()
	f, h := onDisk(t, 64)
	failed := 0
	for step, more := 1, true; more; step++ {
		s := spec(fmt.Sprint(step))
		s.Shared = map[string]string{"/usr/lib/acme/big": fmt.Sprint(step)}
		f.Give("web01", f.Pack(s))
		before := h.reads("/usr/bin/agent")
		filling := &fills{Writer: &h.said, n: step, file: h.files.Stored("filling")}
		h.opts.Narrate = filling
		r, err := h.Update(t.Context(), UpdateOptions{})
		h.opts.Narrate = &h.said
		if more = filling.said != ""; !more {
			break
		}
		if err != nil {
			failed++
			if !strings.Contains(err.Error(), "no space left on device") &&
				!strings.Contains(err.Error(), "not enough disk space") || fault.IsRefusal(err) {
				t.Errorf("full at %q: %v", filling.said, err)
			}
		} else if r.State != schema.StateCurrent {
			t.Errorf("full at %q: %s", filling.said, r)
		}
		if got := h.reads("/usr/bin/agent"); got != before && got != fmt.Sprint(step) {
			t.Errorf("full at %q: the host runs %q", filling.said, got)
		}
		if _, err := h.files.Record(); err != nil {
			t.Errorf("full at %q: %v", filling.said, err)
		}
		if err := os.Remove(filling.file); err != nil {
			t.Fatal(err)
		}
		if r, err := h.Update(t.Context(), UpdateOptions{}); err != nil || r.Package == nil ||
			r.Package.Version != fmt.Sprint(step) {
			t.Errorf("full at %q, then not: %v, %s", filling.said, err, r)
		}
		h.runs(fmt.Sprint(step))
		if left, _ := filepath.Glob(h.files.Stored("*", ".tmp*")); len(left) > 0 {
			t.Errorf("full at %q: %q stay", filling.said, left)
		}
	}
	if failed < 6 {
		t.Errorf("only %d updates failed for want of space", failed)
	}
}

func TestAReadOnlyDiskIsOneErrorAndChangesNothing(t *testing.T) {
	t.Parallel()
	f, h := onDisk(t, 64)
	f.Give("web01", version(f, "two"))
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", h.files.Stored(), "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	f.Requests()
	f.Pass(time.Hour)
	r, err := h.Update(t.Context(), UpdateOptions{})
	if !errors.Is(err, syscall.EROFS) || strings.Count(err.Error(), "read-only file system") != 1 ||
		!strings.Contains(r.String(), "read-only file system") {
		t.Errorf("%v, %s", err, r)
	}
	if asked := f.Requests(); len(asked) > 0 {
		t.Errorf("the server was asked: %q", asked)
	}
	if s, err := h.Status(); err != nil || s.Severity != report.Warning || s.Last.Code != outcome.CodeHost ||
		!strings.Contains(s.Last.Error, "read-only file system") || s.Overdue != "" {
		t.Errorf("what could not be written where the state is must be in the summary: %v, %+v", err, s)
	}
	h.runs("one")
	remount(0)
	h.update()
	if s, err := h.Status(); err != nil || s.Severity != report.OK || s.Last.State != schema.StateCurrent {
		t.Errorf("status: %v, %+v", err, s)
	}
	h.runs("two")
}
