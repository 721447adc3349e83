package examples_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// startTied starts cmd so that the kernel kills it when this process dies, however it does: a server that outlived its
// test would hold its port and its store for good. wait returns what cmd.Wait does.
//
// Pdeathsig watches the thread that forked, not the process, so that thread is kept until cmd has ended.
func startTied(cmd *exec.Cmd) (wait func() error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, end, ended := make(chan error), make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-end // Wait closes pipes that are still being read
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error { close(end); return <-ended }, nil
}

const tiedChild = "BAKEHOUSE_TEST_TIED_CHILD"

func TestAServerDoesNotOutliveATestThatIsKilled(t *testing.T) {
	if os.Getenv(tiedChild) != "" {
		server := exec.Command("sleep", "600")
		server.Stdout = os.Stdout
		if _, err := startTied(server); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("started\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), tiedChild+"=1")
	if _, err := child.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("started\n"))
	if _, err := io.ReadFull(out, line); err != nil || !bytes.Equal(line, []byte("started\n")) {
		t.Fatalf("the child says %q (%v)", line, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The server holds the pipe open too, so its end is the end of both.
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	_ = child.Wait()
}
