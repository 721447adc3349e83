//go:build unix

package process

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// Path is where programs are looked up, as in an environment.
const Path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func environment() []string { return []string{Path, "LC_ALL=C.UTF-8", "HOME=/root", "TERM=dumb"} }

// ownGroup starts c in a process group of its own, which is killed as a whole when c's context ends.
func ownGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error {
		if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
}

func setUser(c *exec.Cmd, uid, gid string, groups []string) error {
	var bad error
	id := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		bad = errors.Join(bad, err)
		return uint32(n)
	}
	as := &syscall.Credential{Uid: id(uid), Gid: id(gid)}
	for _, g := range groups {
		as.Groups = append(as.Groups, id(g))
	}
	c.SysProcAttr.Credential = as
	return bad
}
