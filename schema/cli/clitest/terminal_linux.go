package clitest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"bakehouse/schema/fault"

	"golang.org/x/sys/unix"
)

// CtrlC runs a program at a terminal of its own and presses Ctrl-C at the prompt. The program has to end with
// fault.ExitInterrupted, one error, and a terminal that shows what is typed.
func CtrlC(t testing.TB, cmd *exec.Cmd, prompt string) {
	t.Helper()
	keyboard, terminal := pseudoTerminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	_ = terminal.Close() // so that the program's end is the end of the screen
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	read := func() bool { // false: the program has ended
		b := make([]byte, 1024)
		n, err := keyboard.Read(b)
		screen.Write(b[:n])
		return err == nil
	}
	for !bytes.Contains(screen.Bytes(), []byte(prompt)) && read() {
	}
	if !bytes.Contains(screen.Bytes(), []byte(prompt)) {
		t.Fatalf("no prompt %q: %v\n%s", prompt, cmd.Wait(), &screen)
	}
	before := bytes.Count(screen.Bytes(), []byte("error: "))
	if _, err := keyboard.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	for read() {
	}
	err = cmd.Wait()
	state, ioErr := unix.IoctlGetTermios(int(keyboard.Fd()), unix.TCGETS)
	if ioErr != nil || state.Lflag&unix.ECHO == 0 || state.Lflag&unix.ICANON == 0 {
		t.Errorf("the terminal is left as it was at the prompt: %+v, %v", state, ioErr)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != fault.ExitInterrupted {
		t.Errorf("it ends with %v", err)
	}
	if bytes.Count(screen.Bytes(), []byte("error: ")) != before+1 {
		t.Errorf("the screen shows\n%s", &screen)
	}
}

// pseudoTerminal is a terminal and what its keyboard and screen are connected to.
func pseudoTerminal(t testing.TB) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return keyboard, terminal
}
