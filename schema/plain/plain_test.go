package plain

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

const hostile = "a\x1b[2J\x1b]0;owned\x07b\x00\x7f\u0085\u202ecod\u2066x\u200b\r\xff\n\tz"

// shown fails for text that could do anything but show.
func shown(t *testing.T, s, except string) {
	t.Helper()
	for _, r := range s {
		if !unicode.IsPrint(r) && !strings.ContainsRune(except, r) || r == utf8.RuneError {
			t.Errorf("%q has %q", s, r)
		}
	}
	if !utf8.ValidString(s) {
		t.Errorf("%q is no UTF-8", s)
	}
}

func TestTextFromElsewhereOnlyShows(t *testing.T) {
	t.Parallel()
	line := Line(hostile, 100)
	shown(t, line, "")
	if !strings.HasPrefix(line, "a [2J ]0;owned b") || !strings.HasSuffix(line, ";  z") {
		t.Errorf("%q", line)
	}
	shown(t, Lines(hostile, 100), "\n\t")
	if Lines("one\n\ttwo", 100) != "one\n\ttwo" {
		t.Error("lines do not stay")
	}
}

func TestTheMiddleOfALongTextIsLeftOut(t *testing.T) {
	t.Parallel()
	if got := Line("fetching "+strings.Repeat("9", 1000)+": no space", 40); len(got) > 40 ||
		!strings.HasPrefix(got, "fetching 999") || !strings.HasSuffix(got, "9: no space") {
		t.Errorf("%q", got)
	}
	if got := Line(strings.Repeat("\n", 50), 60); len(got) > 60 {
		t.Errorf("%q", got)
	}
	if got := Tail(strings.Repeat("old\n", 100)+"last\n", 10); got != "old\nlast" {
		t.Errorf("%q", got)
	}
}

func TestACleanErrorIsStillThatError(t *testing.T) {
	t.Parallel()
	err := Error(errors.Join(errors.New(strings.Repeat("x", 5000)+"\x1b"), fs.ErrNotExist), 100)
	if !errors.Is(err, fs.ErrNotExist) || len(err.Error()) > 100 {
		t.Errorf("%v", err)
	}
	shown(t, err.Error(), "\n")
	if Error(fs.ErrNotExist, 100) != fs.ErrNotExist || Error(nil, 1) != nil {
		t.Error("what is clean is another error")
	}
}

func TestWhatIsWrittenToATerminalOnlyShowsHoweverItIsSplit(t *testing.T) {
	t.Parallel()
	const text = "grün\x1b[31m 日本 " + hostile
	var whole bytes.Buffer
	NewWriter(&whole).Write([]byte(text))
	for at := range text {
		var out bytes.Buffer
		w := NewWriter(&out)
		w.Write([]byte(text[:at]))
		if n, err := w.Write([]byte(text[at:])); n != len(text)-at || err != nil {
			t.Fatal(n, err)
		}
		if out.String() != whole.String() {
			t.Errorf("split at %d: %q, not %q", at, &out, &whole)
		}
		shown(t, out.String(), "\n\t")
	}
	if !strings.HasPrefix(whole.String(), "grün [31m 日本 a") {
		t.Errorf("%q", &whole)
	}
}

func FuzzLine(f *testing.F) {
	f.Add(hostile, 20)
	f.Add("日本語", 4)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, min(limit, 1<<20))
		got := Line(s, limit)
		shown(t, got, "")
		if len(got) > limit || Line(got, limit) != got {
			t.Errorf("%q in %d bytes: %q, and of that %q", s, limit, got, Line(got, limit))
		}
		shown(t, Lines(s, limit), "\n\t")
		shown(t, Tail(s, limit), "\n\t")
		if len(Tail(s, limit)) > limit || len(Lines(s, limit)) > limit {
			t.Errorf("%q is longer than %d", s, limit)
		}
	})
}
