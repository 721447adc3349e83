package cli

import (
	"context"
	"fmt"
	"os"

	"bakehouse/schema/fault"

	"golang.org/x/term"
)

// ReadPassword reads a line from a terminal that shows nothing of it. When ctx ends, as it does at Ctrl-C, it gives up
// at once, the terminal is as it was, and the error is a fault.ErrInterrupted. The abandoned read takes at most one
// more line of a program that is about to end.
func ReadPassword(ctx context.Context, in *os.File) ([]byte, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		line []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		return a.line, a.err
	case <-ctx.Done():
		return nil, Interrupted(term.Restore(fd, before))
	}
}

// Interrupted is the error of a prompt that was given up, with what else went wrong.
func Interrupted(err error) error {
	if err != nil {
		return fmt.Errorf("%w; restoring the terminal: %w", fault.ErrInterrupted, err)
	}
	return fault.ErrInterrupted
}
