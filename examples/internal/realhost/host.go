package realhost

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema/needs/debianroot"
)

// packages is what a host has beside Debian's minbase.
var packages = []string{"systemd", "systemd-sysv", "dbus", "iproute2", "ca-certificates", "rpm"}

// bootTimeout is generous: a boot takes about 3 s here, and several may share the processor.
const bootTimeout = 2 * time.Minute

// Host is a booted Debian. It is gone when its test is over.
type Host struct {
	Name    string     // host name
	Addr    netip.Addr // of the host, as the test reaches it
	Gateway netip.Addr // of the test, as the host reaches it

	t       testing.TB
	link    string // our end of the veth pair
	leader  string // PID of the host's systemd, seen from here
	console *syncBuffer
	stop    func()
}

// Boot boots a host of that name and returns when systemd has started everything. When the test has failed, the end of
// the host's console and journal stands in its log.
func Boot(t testing.TB, name string) *Host {
	t.Helper()
	Need(t)
	root := debianroot.Root(t, debianroot.OwnSuite(t), packages...)
	l, err := takeLease()
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{Name: name, t: t, link: l.link(), console: &syncBuffer{}}
	h.Gateway, h.Addr = l.network()
	t.Cleanup(func() {
		if t.Failed() {
			h.diagnose()
		}
		if h.stop != nil {
			h.stop()
		}
		l.release()
	})
	if err := h.boot(l, root); err != nil {
		t.Fatalf("the host did not boot: %v", err)
	}
	return h
}

// bootScript runs as the first process of the host's namespaces. $1 is an empty folder, $2 the shared root, $3 the
// machine name, $4 the host name; the rest are control groups. The overlay is in memory; without overlayfs the root is
// copied there. nspawn's own locks and propagation folders are covered up, so that none stays on the machine.
const bootScript = `set -eu
dir=$1 shared=$2 machine=$3 name=$4
shift 4
mount -t proc proc /proc
for group in "$@"; do mkdir -p "$group" && echo 0 >"$group/cgroup.procs"; done
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn
mount -t tmpfs -o mode=0700,size=2g tmpfs "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay -o "lowerdir=$shared,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root" ||
	cp -a "$shared/." "$dir/root"
systemd-nspawn --quiet --directory="$dir/root" --boot --machine="$machine" --hostname="$name" \
	--register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off \
	--network-veth --console=pipe --notify-ready=yes
`

// boot starts the host and gives its link addresses.
func (h *Host) boot(l lease, root string) error {
	dir := strings.TrimSuffix(l.lock.Name(), ".lock")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// An abstract socket: no file to leave behind. nspawn tells it when systemd in the host says that it is up.
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: fmt.Sprintf("@bakehouse-test-%s-%d", l.machine(), os.Getpid())})
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command("sh", append([]string{"-c", bootScript, "sh", dir, root, l.machine(), h.Name}, l.cgroups()...)...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+ready.LocalAddr().String())
	cmd.Stdout, cmd.Stderr = h.console, h.console
	wait, err := debianroot.Start(cmd)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = wait()
		ready.Close()
		close(ended)
	}()
	h.stop = func() {
		_ = cmd.Process.Kill() // the first process of the namespace: the rest goes with it
		<-ended
	}
	if err := untilReady(ready); err != nil {
		return err
	}
	if h.leader, err = leaderBelow(cmd.Process.Pid); err != nil {
		return err
	}
	return h.connect(l)
}

// untilReady reads notifications until one says that the host is up.
func untilReady(ready *net.UnixConn) error {
	if err := ready.SetReadDeadline(time.Now().Add(bootTimeout)); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		n, err := ready.Read(buf)
		if err != nil {
			return fmt.Errorf("systemd never said that it is up: %w", err)
		}
		for line := range strings.Lines(string(buf[:n])) {
			if strings.TrimSpace(line) == "READY=1" {
				return nil
			}
		}
	}
}

// leaderBelow returns the descendant of pid that is the first process of a PID namespace: the host's systemd.
func leaderBelow(pid int) (string, error) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return "", err
	}
	for _, child := range strings.Fields(string(children)) {
		status, err := os.ReadFile("/proc/" + child + "/status")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			if len(f) > 1 && f[0] == "NSpid:" && f[len(f)-1] == "1" {
				return child, nil
			}
		}
		n, err := strconv.Atoi(child)
		if err != nil {
			continue
		}
		if leader, err := leaderBelow(n); err == nil {
			return leader, nil
		}
	}
	return "", fmt.Errorf("process %d has started no host", pid)
}

// connect gives both ends of the link their addresses.
func (h *Host) connect(l lease) error {
	for _, args := range [][]string{
		{"address", "add", h.Gateway.String() + "/30", "dev", l.link()},
		{"link", "set", l.link(), "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	for _, args := range [][]string{
		{"ip", "address", "add", h.Addr.String() + "/30", "dev", "host0"},
		{"ip", "link", "set", "host0", "up"},
	} {
		if out, err := h.Try(args...); err != nil {
			return fmt.Errorf("%v on the host: %w: %s", args, err, out)
		}
	}
	return nil
}

// Command prepares a program that runs in the host as root, with a login's environment and no standard input.
func (h *Host) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", h.leader, "--all", "--root", "--wd", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive"}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// Try runs a program in the host and returns what it printed, on either stream.
func (h *Host) Try(args ...string) (string, error) {
	out, err := h.Command(h.t.Context(), args...).CombinedOutput()
	return string(out), err
}

// Run is Try for what must succeed.
func (h *Host) Run(args ...string) string {
	h.t.Helper()
	out, err := h.Try(args...)
	if err != nil {
		h.t.Fatalf("on %s: %s: %v\n%s", h.Name, strings.Join(args, " "), err, out)
	}
	return out
}

// Write creates or replaces a file in the host, with the folders above it.
func (h *Host) Write(path string, mode os.FileMode, content []byte) {
	h.t.Helper()
	cmd := h.Command(h.t.Context(), "install", "-D", "-m", fmt.Sprintf("%04o", mode.Perm()), "/dev/stdin", path)
	cmd.Stdin = bytes.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("write %s on %s: %v\n%s", path, h.Name, err, out)
	}
}

// Copy is Write with the content of a file of the test's machine.
func (h *Host) Copy(path string, mode os.FileMode, from string) {
	h.t.Helper()
	content, err := os.ReadFile(filepath.Clean(from))
	if err != nil {
		h.t.Fatal(err)
	}
	h.Write(path, mode, content)
}

// diagnose logs what the host has to say for itself.
func (h *Host) diagnose() {
	h.t.Logf("console of %s:\n%s", h.Name, lastLines(h.console.String(), 40))
	if h.leader == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // the test's own context has ended
	defer cancel()
	out, _ := h.Command(ctx, "journalctl", "--no-pager", "--boot", "--lines=80").CombinedOutput()
	h.t.Logf("journal of %s:\n%s", h.Name, out)
}

// lastLines returns the last n lines of s.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// syncBuffer collects the console while others read it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
