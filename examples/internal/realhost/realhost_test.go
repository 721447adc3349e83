package realhost_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bakehouse/examples/internal/realhost"
)

func TestABootedHostInstallsADebAndRunsItsUnit(t *testing.T) {
	h := realhost.Boot(t, "proof")
	if state := strings.TrimSpace(h.Run("systemctl", "is-system-running")); state != "running" {
		t.Fatalf("systemd is %q", state)
	}
	const unit = "[Service]\nExecStart=/usr/bin/hello\n[Install]\nWantedBy=multi-user.target\n"
	h.Write("/tmp/deb/DEBIAN/control", 0o644, []byte("Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: proof\n"))
	h.Write("/tmp/deb/DEBIAN/postinst", 0o755, []byte("#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl enable --now hello\n"))
	h.Write("/tmp/deb/usr/bin/hello", 0o755, []byte("#!/bin/sh\nexec sleep infinity\n"))
	h.Write("/tmp/deb/lib/systemd/system/hello.service", 0o644, []byte(unit))
	h.Run("dpkg-deb", "--build", "/tmp/deb", "/tmp/hello.deb")
	h.Run("dpkg", "--install", "/tmp/hello.deb")
	if state := strings.TrimSpace(h.Run("systemctl", "is-active", "hello")); state != "active" {
		t.Errorf("the unit is %q", state)
	}
	if out, err := h.Try("systemctl", "is-active", "nothing"); err == nil {
		t.Errorf("a failing command passed: %s", out)
	}
}

func TestHostAndTestReachEachOtherByAddress(t *testing.T) {
	h := realhost.Boot(t, "net")
	l, err := net.Listen("tcp", netip.AddrPortFrom(h.Gateway, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer c.Close()
		line, _ := bufio.NewReader(c).ReadString('\n')
		got <- c.RemoteAddr().String() + " " + line
	}()
	h.Run("bash", "-c", fmt.Sprintf("echo hello >/dev/tcp/%s/%d", h.Gateway, l.Addr().(*net.TCPAddr).Port))
	if s := <-got; !strings.HasPrefix(s, h.Addr.String()+":") || !strings.HasSuffix(s, " hello\n") {
		t.Errorf("the test heard %q", s)
	}
}

// doomed is set in the process that the next test starts in order to kill it.
const doomed = "BAKEHOUSE_TEST_BOOT_AND_WAIT"

func TestNothingOfAHostOutlivesItsTestHoweverThatEnds(t *testing.T) {
	if os.Getenv(doomed) != "" {
		h := realhost.Boot(t, "doomed")
		fmt.Println("up", h.Leader(), h.Gateway)
		select {}
	}
	realhost.Need(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := exec.Command(self, "-test.run=^TestNothingOfAHostOutlivesItsTestHoweverThatEnds$")
			cmd.Env = append(os.Environ(), doomed+"=1")
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }()
			var leader, gateway string
			if _, err := fmt.Fscanf(stdout, "up %s %s\n", &leader, &gateway); err != nil {
				rest, _ := io.ReadAll(stdout)
				t.Fatalf("the host did not come up: %v: %s", err, rest)
			}
			if !running(leader) || !hasAddress(t, gateway) {
				t.Fatalf("systemd %s or address %s of the booted host not found", leader, gateway)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			eventually(t, "systemd of the host is gone", func() bool { return !running(leader) })
			eventually(t, "the link to the host is gone", func() bool { return !hasAddress(t, gateway) })
			mounts, err := os.ReadFile("/proc/self/mounts")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(mounts), "bakehouse-test") {
				t.Errorf("mounts of the host remain:\n%s", mounts)
			}
		})
	}
}

func running(pid string) bool {
	_, err := os.Stat("/proc/" + pid)
	return err == nil
}

func hasAddress(t *testing.T, addr string) bool {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool { return strings.HasPrefix(a.String(), addr+"/") })
}

// eventually looks again until the kernel has done what it does in the background.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !done(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so within 30 s: %s", what)
		}
	}
}
