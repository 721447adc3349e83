package plan

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"bakehouse/schema/fleet"

	"github.com/rogpeppe/go-internal/diff"
)

// Bounds on what a report shows of a text: larger ones are told by size and digest, and longer diffs end early.
const (
	maxText      = 64 << 10
	maxDiffLines = 200
)

// textDiff is the unified diff of two texts without its header, and how many lines it lacks. It is empty if one of them
// is no text. Secrets are hidden before, for one of several lines is in no single line of a diff.
func textDiff(m fleet.Mask, was, is *Content) (string, int) {
	old, ok1 := was.read()
	now, ok2 := is.read()
	if !ok1 || !ok2 {
		return "", 0
	}
	d := string(diff.Diff("a", []byte(m.Text(string(old))), "b", []byte(m.Text(string(now)))))
	_, d, _ = strings.Cut(d, "+++ b\n")
	return cutLines(d, maxDiffLines)
}

// read returns the text; no content is an empty one.
func (c *Content) read() ([]byte, bool) {
	if c == nil {
		return nil, true
	}
	b, ok := c.text()
	if !ok || len(b) > maxText || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return nil, false
	}
	return b, true
}

// cutLines keeps the first lines of s and counts the rest.
func cutLines(s string, keep int) (string, int) {
	at := 0
	for range keep {
		i := strings.IndexByte(s[at:], '\n')
		if i < 0 {
			return s, 0
		}
		at += i + 1
	}
	return s[:at], strings.Count(s[at:], "\n")
}
