package console

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestALevelDecidesWhatIsPrintedBesideAResult(t *testing.T) {
	const warning = "bakehouse: warning: w 1\nbakehouse: hint: h\n"
	const note, detail = "bakehouse: note: n\n", "bakehouse: detail: d\n"
	for level, want := range map[Level]string{Quiet: warning, Normal: warning + note, Verbose: warning + note + detail} {
		var out strings.Builder
		w := &Log{&out, level}
		Warn(w, "w %d", 1)
		Hint(w, "h")
		Note(w, "n")
		Detail(w, "d")
		if out.String() != want {
			t.Errorf("level %d: %q, want %q", level, out.String(), want)
		}
	}
	var out strings.Builder
	Note(&out, "n")
	Detail(&out, "d")
	if out.String() != note {
		t.Errorf("a writer without a level: %q", out.String())
	}
}

func TestProgressIsNotShownToThoseWhoWantQuiet(t *testing.T) {
	for level, want := range map[Level]string{Quiet: "", Normal: "bakehouse: baking: 1 of 1\n"} {
		var out strings.Builder
		var w io.Writer = &Log{&out, level}
		p := NewProgress(w, "baking", 1)
		p.now = func() time.Time { return p.begun.Add(time.Minute) }
		p.Step("")
		p.End()
		if out.String() != want {
			t.Errorf("level %d: %q, want %q", level, out.String(), want)
		}
	}
}
