package console

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// A Level is how much a command prints beside its result.
type Level int

const (
	Quiet   Level = iota - 1 // warnings and errors
	Normal                   // and notes and progress
	Verbose                  // and details
)

// A Log is the standard error of a command, with the level that its user asked for. Any other writer is one of the
// normal level.
type Log struct {
	io.Writer
	Level Level
}

func levelOf(w io.Writer) Level {
	if l, ok := w.(*Log); ok {
		return l.Level
	}
	return Normal
}

// Warn prints what may be a mistake.
func Warn(w io.Writer, format string, args ...any) { line(w, "warning", format, args) }

// Note prints what is good to know and calls for nothing.
func Note(w io.Writer, format string, args ...any) {
	if levelOf(w) >= Normal {
		line(w, "note", format, args)
	}
}

// Detail prints what explains a result to whoever looks into it.
func Detail(w io.Writer, format string, args ...any) {
	if levelOf(w) >= Verbose {
		line(w, "detail", format, args)
	}
}

// Hint prints what to do about the line before it.
func Hint(w io.Writer, format string, args ...any) { line(w, "hint", format, args) }

func line(w io.Writer, what, format string, args []any) {
	fmt.Fprintf(w, "bakehouse: %s: %s\n", what, fmt.Sprintf(format, args...))
}

// onTerminal reports whether lines that were written to w can be drawn over.
func onTerminal(w io.Writer) bool {
	if l, ok := w.(*Log); ok {
		w = l.Writer
	}
	f, ok := w.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
