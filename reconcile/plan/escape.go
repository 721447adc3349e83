package plan

import (
	"fmt"
	"strings"
)

// escape makes s inert in markdown and HTML, on one line: whatever stands for something in either becomes a numeric
// entity, which CommonMark never takes for markup (spec 0.31.2, 2.5).
func escape(s string) string {
	var b strings.Builder
	for _, r := range visible(s, false) {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r < 0x80 && !plain(byte(r)):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plain are the ASCII characters that mean nothing within a line. The dot and the colon do: they make bare links.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(" /-,=%'?", c) >= 0
}

// code shows s as code. The element also keeps forges from taking it for a mention, an issue or a commit: those are
// sought in the rendered text, where escapes are gone, but never in code.
func code(s string) string { return "<code>" + escape(s) + "</code>" }

// fence shows text as a block in that language. The fence is longer than any run of backticks in it.
func fence(language, text string) string {
	text = visible(text, true)
	longest, run := 0, 0
	for i := range len(text) {
		if text[i] != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	mark := strings.Repeat("`", max(3, longest+1))
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return mark + language + "\n" + text + mark + "\n"
}
