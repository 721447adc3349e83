package debianroot

import (
	"bytes"
	"os/exec"
	"runtime"
	"syscall"
)

// Start starts cmd as the first process of a new PID namespace, in a new mount namespace, and bound to this process:
// when either dies, the kernel kills everything in the namespace. wait returns what cmd.Wait does.
//
// Pdeathsig watches the thread that forked, not the process, so that thread is kept until cmd has ended.
func Start(cmd *exec.Cmd) (wait func() error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS, // unlike the clone flag, Go then also keeps mounts from spreading out of it
		Pdeathsig:    syscall.SIGKILL,
		Setpgid:      true, // a terminal's Ctrl-C reaches the test, which then takes this down with it
	}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error { return <-ended }, nil
}

// run runs cmd as Start does and returns what it printed.
func run(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	wait, err := Start(cmd)
	if err != nil {
		return "", err
	}
	err = wait()
	return out.String(), err
}
