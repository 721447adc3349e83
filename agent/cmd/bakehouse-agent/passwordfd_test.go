//go:build unix

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestThePasswordComesFromADescriptorWithoutItsLineEnd(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("correct horse\r\nmore"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	fd, err := syscall.Dup(int(r.Fd())) // read closes what it is given
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	p, _ := typed("")
	s, err := passwordFrom{fd: fd, byFD: true}.read(p, "ops")
	if err != nil || s != "correct horse" {
		t.Errorf("%q, %v", s, err)
	}
	if _, err := firstLine(strings.NewReader(strings.Repeat("x", maxPassword+1))); err == nil {
		t.Error("a password without end is accepted")
	}
}
