//go:build !windows

package detached

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bakehouse/schema/plain"
)

// unit is the name of the update's own unit.
const unit = "bakehouse-agent-update"

// Update returns what runs program with args in a unit of its own, so that the package manager may restart the service
// that waits for it; nil if there is no systemd to do that, or the root is a sandbox, a directory in place of /. A
// failure names log, the updater's log file. That unit has
// the proxy and certificates of our environment, which is where an administrator's drop-in puts them. A stop, as of the
// whole system, is for the updater alone: it lets the package manager come to its end.
func Update(root, log, program string, args ...string) func(context.Context) error {
	if fi, err := os.Stat("/run/systemd/system"); root != "" || err != nil || !fi.IsDir() {
		return nil
	}
	if _, err := exec.LookPath("systemd-run"); err != nil {
		return nil
	}
	return func(ctx context.Context) error {
		run := []string{"--collect", "--wait", "--quiet", "--unit=" + unit,
			"--description=Update of this host's monitoring agent",
			"--property=KillMode=mixed", "--property=TimeoutStopSec=" + stopTimeout}
		c := exec.CommandContext(ctx, "systemd-run", slices.Concat(run, connecting(), []string{"--", program}, args)...)
		// When our own service stops, only the waiting ends; the update goes on. systemd-run does not end for less than
		// a kill, and systemd would wait for it.
		c.WaitDelay = time.Second
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s failed: %w: %s (see journalctl -u %s, or %s)", unit, err,
				plain.Tail(string(out), 500), unit, log)
		}
		return nil
	}
}

// stopTimeout is how long a package manager has to come to its end when the system goes down, as systemd has it.
const stopTimeout = "10min"

// connecting passes them on.
func connecting() (args []string) {
	for _, v := range variables() {
		args = append(args, "--setenv="+v)
	}
	return args
}

// Program is the path by which this program was started, not the file behind it: an update puts a new file there.
func Program() (string, error) {
	p := os.Args[0]
	if !strings.Contains(p, "/") {
		var err error
		if p, err = exec.LookPath(p); err != nil {
			return os.Executable()
		}
	}
	return filepath.Abs(p)
}

// Restart goes on as the program that is in the place of this one now.
func Restart(program string) error { return syscall.Exec(program, os.Args, os.Environ()) }
