package wineroot

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bakehouse/schema/needs"
	"bakehouse/schema/needs/debianroot"
)

// grow installs Wine and makes a prefix. The shims go where alone Go's runtime looks for them.
const grow = `export DEBIAN_FRONTEND=noninteractive
dpkg --add-architecture i386
apt-get update --quiet
apt-get install --yes --quiet --no-install-recommends wine wine64 wine32:i386
apt-get clean
rm -rf /var/lib/apt/lists/*
export HOME=/root WINEDEBUG=-all
wineboot --init
wineserver --wait
cd /root/.wine/drive_c/windows
mv /shim/amd64.dll system32/bcryptprimitives.dll
mv /shim/386.dll syswow64/bcryptprimitives.dll
`

// bootScript is the first process of a host: $1 is an empty folder, $2 the shared root. It says when the host is up,
// which it is as long as this script's input is open: services live as long as some program does.
const bootScript = `set -eu
mount -t tmpfs -o mode=0700,size=3g tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root" || cp -a "$2/." "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
export HOME=/root WINEDEBUG=-all
exec chroot "$1/root" wine cmd /q /d /c "echo up& pause >nul"
`

// Real is that this is Windows itself.
const Real = false

// Host is a Windows of the test's own.
type Host struct {
	t      testing.TB
	leader int    // process in whose namespaces it is
	root   string // of its file system, seen from there
}

// Boot makes a host, which ends with the test.
func Boot(t testing.TB) *Host {
	t.Helper()
	needs.All(t, "runs programs in Wine")
	needs.Tools(t, "nsenter", "chroot")
	shared := debianroot.Grown(t, "wine", grow,
		map[string][]byte{"shim/amd64.dll": shim(true), "shim/386.dll": shim(false)})
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", bootScript, "sh", dir, shared)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	wait, err := debianroot.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill() // the first process of its namespace: the rest goes with it
		<-ended
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_ = wait()
		close(ended)
	}()
	if err != nil || strings.TrimSpace(line) != "up" {
		t.Fatalf("Wine does not start: %q, %v\n%s", line, err, &stderr)
	}
	return &Host{t: t, leader: cmd.Process.Pid, root: filepath.Join(dir, "root")}
}

// Command prepares a program of the host. It ends with ctx.
func (h *Host) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(h.leader), "--mount", "--pid", "chroot", h.root,
		"env", "-i", "HOME=/root", "WINEDEBUG=-all", "PATH=/usr/bin:/bin", "wine", program}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// Kill ends the host's processes that run a program, by their numbers, without a word to them; it reports whether there
// was one.
func (h *Host) Kill(program string) (killed bool) {
	for _, pid := range h.running(program) {
		killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
	}
	return killed
}

// Runs reports whether a process of the host runs a program.
func (h *Host) Runs(program string) bool { return len(h.running(program)) > 0 }

func (h *Host) running(program string) (pids []int) {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid_for_children", h.leader))
	if err != nil {
		h.t.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		first, _, _ := strings.Cut(string(b), "\x00")
		in, _ := os.Readlink(filepath.Join(filepath.Dir(name), "ns/pid"))
		if err != nil || in != space || !strings.HasSuffix(strings.ToLower(first), strings.ToLower(program)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Put copies a file of this machine to a path of the host: C:\….
func (h *Host) Put(from, path string) {
	h.t.Helper()
	f, err := os.Open(from)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	to := h.Path(path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		h.t.Fatal(err)
	}
	w, err := os.Create(to)
	if err == nil {
		_, err = io.Copy(w, f)
		w.Close()
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// Path is where this machine sees a file of the host.
func (h *Host) Path(path string) string {
	rest, ok := strings.CutPrefix(path, `C:\`)
	if !ok {
		h.t.Fatalf(`%q is not on C:\`, path)
	}
	return filepath.Join(fmt.Sprintf("/proc/%d/root/root/.wine/drive_c", h.leader),
		filepath.FromSlash(strings.ReplaceAll(rest, `\`, "/")))
}
