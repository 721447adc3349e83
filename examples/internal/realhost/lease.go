package realhost

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"bakehouse/schema/needs/debianroot"
)

// lease is the right to a number, and with it to a machine name, a link and a network that no other running test has.
type lease struct {
	number int
	lock   *os.File
}

func (l lease) machine() string { return fmt.Sprintf("bh%d", l.number) }
func (l lease) link() string    { return "ve-" + l.machine() }

// network returns the lease's /30 out of 198.18.0.0/15, which RFC 2544 sets aside for tests: the test's address and
// the host's.
func (l lease) network() (gateway, host netip.Addr) {
	n := 4 * l.number
	at := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16), byte(n >> 8), byte(n) + byte(i)})
	}
	return at(1), at(2)
}

// maxLeases is how many /30 the reserved network has.
const maxLeases = 1 << 15

// takeLease takes the first number that no living process holds and whose network the machine does not use.
func takeLease() (lease, error) {
	cache, err := debianroot.Cache()
	if err != nil {
		return lease{}, err
	}
	dir := filepath.Join(cache, "hosts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return lease{}, err
	}
	for n := range maxLeases {
		l := lease{number: n}
		l.lock, err = debianroot.Lock(filepath.Join(dir, fmt.Sprintf("%d.lock", n)), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, debianroot.ErrLocked) {
			continue
		} else if err != nil {
			return lease{}, err
		}
		l.sweep()
		used, err := l.inUse()
		if err == nil && !used {
			return l, nil
		}
		l.lock.Close()
		if err != nil {
			return lease{}, err
		}
	}
	return lease{}, errors.New("no free network for another test host")
}

// inUse reports whether an address of this machine lies in the lease's network.
func (l lease) inUse() (bool, error) {
	gateway, _ := l.network()
	own := netip.PrefixFrom(gateway, 30).Masked()
	addrs, err := net.InterfaceAddrs()
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Masked().Overlaps(own)
	}), err
}

// sweep removes what the host's death can leave for a moment (the link, whose network namespace the kernel takes down
// in the background) or for good (empty control groups).
func (l lease) sweep() {
	_ = exec.Command("ip", "link", "delete", l.link()).Run()
	for _, dir := range l.cgroups() {
		var below []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				below = append(below, path)
			}
			return nil
		})
		for _, path := range slices.Backward(below) {
			_ = os.Remove(path) // rmdir: refused unless empty
		}
	}
}

// release gives the number back.
func (l lease) release() {
	l.sweep()
	l.lock.Close()
}

// cgroups returns the control groups of the lease, one for each hierarchy that systemd uses: below this process's own
// group, so that two hosts do not meet in one.
func (l lease) cgroups() []string {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(own)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		var mounts []string
		switch f[1] {
		case "": // version 2, alone or beside version 1
			mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
		case "name=systemd":
			mounts = []string{"/sys/fs/cgroup/systemd"}
		}
		for _, m := range mounts {
			if _, err := os.Stat(filepath.Join(m, f[2], "cgroup.procs")); err == nil {
				dirs = append(dirs, filepath.Join(m, f[2], l.machine()))
			}
		}
	}
	return dirs
}
