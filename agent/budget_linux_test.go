package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/schema/needs"
)

// A small file of a tgz changes: what the updater's process writes, and how often it waits for the disk.
func TestASmallChangeOfATgzWritesNoMoreThanThat(t *testing.T) {
	t.Parallel()
	needs.All(t, "counts system calls")
	strace := needs.Tool(t, "strace")
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	for _, text := range []string{"one", "two"} {
		f.Give("web01", version(f, text))
		h.update()
	}
	f.Give("web01", version(f, "three"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	c := exec.Command(strace, "-f", "-y", "-qq", "-o", trace, "-e", "trace=write,pwrite64,copy_file_range,sendfile,"+
		"fsync,fdatasync,syncfs", exe, h.root, f.Now().Format(time.RFC3339), "update")
	c.Env = append(os.Environ(), childVariable+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h.runs("three")
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	wrote, syncs, all := 0, 0, 0
	call := regexp.MustCompile(`^\d+ +(\w+)\(\d+<(/[^>]*)>.* = (\d+)$`)
	for line := range strings.Lines(string(b)) {
		m := call.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || !strings.HasPrefix(m[2], h.root) {
			continue
		}
		switch m[1] {
		case "fsync", "fdatasync":
			syncs++
		case "syncfs":
			all++
		default:
			n, err := strconv.Atoi(m[3])
			if err != nil {
				t.Fatal(err)
			}
			wrote += n
		}
	}
	t.Logf("%d bytes written, %d fsync, %d syncfs, for a package of %d bytes", wrote, syncs, all, len(bulk))
	if wrote == 0 || wrote > 200_000 || syncs == 0 || syncs > 6 || all != 1 {
		t.Errorf("%d bytes written, %d fsync, %d syncfs: want at most 200000, 6 and 1", wrote, syncs, all)
	}
}

func TestTheLogIsPutAsideWhenItIsLarge(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	log := h.LogFile()
	if err := os.WriteFile(log, []byte(strings.Repeat("old\n", maxLog/4+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", version(f, "one"))
	h.update()
	h.update()
	now, err := os.ReadFile(log)
	if err != nil || strings.Contains(string(now), "old\n") || !strings.Contains(string(now), "update begins") {
		t.Errorf("the log is %.80q, %v", now, err)
	}
	before, err := os.Stat(log + ".1")
	if err != nil || before.Size() != maxLog+4 || before.Mode().Perm() != 0o600 {
		t.Errorf("the one before is %v, %v", before, err)
	}
}
