// Package plain makes text from elsewhere fit for what it enters: a state file, a log, a report, a terminal. Whoever
// sends it, a server, a package manager or a script, can neither make it long nor have it say more than it shows: no
// control characters and escapes, no invisible ones, no changes of direction, no further lines.
package plain

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bytes of a text.
const (
	MaxName  = 300  // what names something, or is quoted in an error
	MaxError = 2000 // an error with all its causes
)

const gap = "…"

// Line is s as one line of at most limit bytes. The middle of what is longer is left out: an error begins with what was
// tried, and ends with why it failed.
func Line(s string, limit int) string {
	s = clean(cut(s, limit), false)
	if strings.Contains(s, "\n") {
		s = cut(strings.ReplaceAll(strings.TrimSpace(s), "\n", "; "), limit)
	}
	return s
}

// Name is Line for what is short.
func Name(s string) string { return Line(s, MaxName) }

// Lines is s in its lines, of at most limit bytes.
func Lines(s string, limit int) string { return clean(cut(s, limit), true) }

// Tail is the end of s in whole lines, of at most limit bytes.
func Tail(s string, limit int) string {
	if len(s) > limit {
		s = s[len(s)-limit:]
		if _, whole, ok := strings.Cut(s, "\n"); ok {
			s = whole
		}
		s = fromStart(s)
	}
	return strings.TrimSpace(clean(s, true))
}

// Error is err whose text has at most limit bytes, in clean lines.
func Error(err error, limit int) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if cleaned := Lines(text, limit); cleaned != text {
		return &cleanError{err, cleaned}
	}
	return err
}

type cleanError struct {
	error
	text string
}

func (e *cleanError) Error() string { return e.text }
func (e *cleanError) Unwrap() error { return e.error }

// NewWriter cleans what is written to w, such as a terminal: lines stay, and text of any length.
func NewWriter(w io.Writer) io.Writer { return &writer{to: w} }

type writer struct {
	to   io.Writer
	rest []byte // the begin of a character
}

func (w *writer) Write(b []byte) (int, error) {
	all := append(w.rest, b...)
	whole := len(all)
	for i := 1; i < utf8.UTFMax && i <= len(all); i++ {
		if start := len(all) - i; utf8.RuneStart(all[start]) {
			if !utf8.FullRune(all[start:]) {
				whole = start
			}
			break
		}
	}
	w.rest = append([]byte(nil), all[whole:]...)
	if _, err := io.WriteString(w.to, clean(string(all[:whole]), true)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// clean puts a space in the place of each character that does not show, except for ends of lines. It makes no text
// longer.
func clean(s string, tabs bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t' && tabs:
			return r
		case r == utf8.RuneError, !strconv.IsPrint(r):
			return ' '
		}
		return r
	}, s)
}

// cut leaves out the middle of what is longer than limit bytes, without splitting a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	if limit < len(gap) {
		return ""
	}
	head := (limit - len(gap)) * 2 / 3
	tail := limit - len(gap) - head
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	return s[:head] + gap + fromStart(s[len(s)-tail:])
}

// fromStart is s from the first begin of a character on.
func fromStart(s string) string {
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return s
}
