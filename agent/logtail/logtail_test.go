package logtail

import (
	"bytes"
	"testing"

	"bakehouse/schema"
)

func TestTheEndOfALogIsWholeLinesWithinItsBound(t *testing.T) {
	var l Tail
	for range 100 {
		l.Write(bytes.Repeat([]byte("é"), 100))
		l.Write([]byte("\n"))
	}
	if s := l.Without("secret"); len(s) > schema.MaxLogTail || len(s) < schema.MaxLogTail-202 || s[:2] != "é" {
		t.Errorf("%d bytes, %q…", len(s), s[:4])
	}
}
