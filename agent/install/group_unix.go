//go:build unix

package install

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

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
