package console

import (
	"strings"
	"testing"
	"time"
)

// worked is what a progress of four steps writes, one every so often.
func worked(bar bool, every time.Duration) string {
	var out strings.Builder
	p := NewProgress(&out, "baking", 4)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p.now, p.begun, p.last = func() time.Time { return at }, at, at
	if bar {
		p.bar, p.every = true, barEvery
	}
	for _, item := range []string{"web01", "web02", "db01", "db02"} {
		at = at.Add(every)
		p.Step(item)
	}
	p.End()
	return out.String()
}

func TestALogGetsALineEveryFewSecondsAndNothingOfQuickWork(t *testing.T) {
	want := "bakehouse: baking: 2 of 4, 6s left\nbakehouse: baking: 4 of 4\n"
	if got := worked(false, 3*time.Second); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := worked(false, time.Second); got != "" {
		t.Errorf("quick work leaves %q", got)
	}
}

func TestATerminalGetsABarThatIsGoneAtTheEnd(t *testing.T) {
	got := worked(true, time.Second)
	for _, want := range []string{"\r\x1b[Kbaking [#######.......................] 1/4, 3s left web01", "] 4/4 db02"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if !strings.HasSuffix(got, "\r\x1b[K") || strings.Contains(got, "\n") {
		t.Errorf("the bar stays: %q", got)
	}
	if got := worked(true, time.Millisecond); got != "" {
		t.Errorf("quick work leaves %q", got)
	}
}
