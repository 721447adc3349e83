package tidy

import (
	"strings"
	"testing"
	"unicode/utf8"

	"bakehouse/schema"
)

func FuzzCleanAndTidy(f *testing.F) {
	f.Add("plain", 5)
	f.Add("é\xff\x00\u202e", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 5000)
		got := Clean(s, limit)
		unclean := strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f })
		if len(got) > limit || unclean || !utf8.ValidString(got) {
			t.Errorf("Clean(%q, %d) = %q", s, limit, got)
		}
		if end := tail(s, limit); len(end) > limit || !strings.HasSuffix(s, end) {
			t.Errorf("tail(%q, %d) = %q", s, limit, end)
		}
		d := tidyDetails(schema.Details{LogTail: s})
		control := func(r rune) bool { return r < ' ' && r != '\n' }
		if len(d.LogTail) > schema.MaxLogTail || strings.ContainsFunc(d.LogTail, control) {
			t.Errorf("of %q is kept %q", s, d.LogTail)
		}
	})
}
