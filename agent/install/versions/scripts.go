package versions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"bakehouse/agent/install/machine"
	"bakehouse/agent/process"
	"bakehouse/schema/fault"
)

// scriptLimit is how long a step of a package's scripts may take: one that hangs must not block updates for good.
const scriptLimit = 10 * time.Minute

// prepare does what comes before the new version's files are seen: the old version's prerm, then the new one's
// pretrans, users, the owners of its files, and preinst. Its undo comes when the old files are back, and has the old
// version put its own state in order again, as installing its package once more would.
func (v *switching) prepare(ctx context.Context) (func() error, error) {
	undo := func() error {
		ctx := context.WithoutCancel(ctx)
		if err := v.script(ctx, v.was, "postinst", "upgrade"); err != nil {
			return err
		}
		return v.script(ctx, v.was, "posttrans", "upgrade")
	}
	if err := v.script(ctx, v.was, "prerm", "upgrade"); err != nil {
		v.tree.sys.Debug("continuing without it, so that an update can fix it", "error", err)
	}
	for _, step := range []string{"pretrans", "users", "owners", "preinst"} {
		if err := v.script(ctx, v.version, step, v.action()); err != nil {
			return undo, err
		}
	}
	return undo, nil
}

// settle does what comes when the new files are there, before services are started.
func (v *switching) settle(ctx context.Context) (func() error, error) {
	if err := v.script(ctx, v.was, "postrm", "upgrade"); err != nil {
		v.tree.sys.Debug("continuing without it, so that an update can fix it", "error", err)
	}
	return nil, v.script(ctx, v.version, "postinst", v.action())
}

func (v *switching) finish(ctx context.Context) (func() error, error) {
	return nil, v.script(ctx, v.version, "posttrans", v.action())
}

func (v *switching) action() string {
	if v.was == "" {
		return "install"
	}
	return "upgrade"
}

// script runs a step of a version's scriptsFile, if it has one. In a sandbox its DPKG_ROOT says where that is, as
// dpkg has it.
func (v *switching) script(ctx context.Context, version, step, action string) error {
	dir := filepath.Join(v.tree.base, version)
	file := filepath.Join(dir, scriptsFile)
	if _, err := os.Stat(file); version == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	env := []string{"BAKEHOUSE_ACTION=" + action}
	if s := v.tree.sys; s.Sandboxed() {
		env = append(env, "DPKG_ROOT="+s.Root)
	}
	limited, cancel := context.WithTimeout(ctx, scriptLimit)
	defer cancel()
	out, err := v.tree.sys.Command(limited, env, "/bin/sh", file, step, dir)
	if err == nil {
		return nil
	}
	if errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("stopped after %s", scriptLimit)
	}
	err = fault.Hint(fmt.Errorf("the package's script for %s failed: %w", step, err),
		"the last lines of its output:\n%s", process.Tail(out))
	var exit *exec.ExitError
	if version == v.version && (!errors.As(err, &exit) || exit.Exited() && exit.ExitCode() != machine.NotReady) {
		return &machine.ReleaseError{Err: err}
	}
	return err // of the version before, or ended by a signal, which comes from whoever stops the system
}
