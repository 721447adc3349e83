// Package terminal asks whoever sits at one. It is apart from schema/cli, because packages that know no flags ask too.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"bakehouse/schema/fault"
)

// ReadPassword reads a line from a terminal that shows nothing of it. When ctx ends, as it does at Ctrl-C, it gives up
// at once, the terminal is as it was, and the error is a fault.ErrInterrupted. The abandoned read takes at most one
// more line of a program that is about to end.
func ReadPassword(ctx context.Context, in *os.File) ([]byte, error) {
	restore, err := hide(in) // here, not where it is read: what comes later than the restoration would stay
	if err != nil {
		return nil, err
	}
	type answer struct {
		line []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := readLine(in)
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		return a.line, errors.Join(a.err, restore())
	case <-ctx.Done():
		if err := restore(); err != nil {
			return nil, fmt.Errorf("%w; restoring the terminal: %w", fault.ErrInterrupted, err)
		}
		return nil, fault.ErrInterrupted
	}
}

// readLine reads byte by byte: what is typed ahead is the next prompt's. An end without a line is io.EOF.
func readLine(in io.Reader) ([]byte, error) {
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := in.Read(b)
		switch {
		case n == 1 && b[0] == '\n', errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case n == 1 && b[0] != '\r':
			line = append(line, b[0])
		case err != nil:
			return nil, err
		}
	}
}
