package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// hide has the console show nothing of what is typed but take it line by line, until restore is called.
func hide(in *os.File) (restore func() error, err error) {
	console := windows.Handle(in.Fd())
	var before uint32
	if err := windows.GetConsoleMode(console, &before); err != nil {
		return nil, err
	}
	hidden := before&^windows.ENABLE_ECHO_INPUT | windows.ENABLE_LINE_INPUT | windows.ENABLE_PROCESSED_INPUT
	return func() error { return windows.SetConsoleMode(console, before) }, windows.SetConsoleMode(console, hidden)
}
