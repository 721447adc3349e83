package main

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestTheJournalIsKnownByItsStream(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]bool{"": false, "1:1": false, "x": false,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino): true, fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): false} {
		t.Setenv("JOURNAL_STREAM", stream)
		if isJournal(w) != want {
			t.Errorf("JOURNAL_STREAM %q: %v", stream, !want)
		}
	}
}
