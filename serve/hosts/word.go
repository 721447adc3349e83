package hosts

import (
	"strings"
	"unique"

	"bakehouse/schema"
)

// word is one of those that are searched for.
type word struct {
	text string // lower case
	glob []string
	hex  bool
}

func newWord(s string) word {
	w := word{text: strings.ToLower(s)}
	if strings.Contains(s, "*") {
		w.glob = strings.Split(w.text, "*")
	}
	digits := strings.TrimPrefix(w.text, "sha256:")
	if w.hex = len(digits) >= 4 && strings.Trim(digits, "0123456789abcdef") == ""; w.hex {
		w.text = digits
	}
	return w
}

func (w *word) matches(e *entry) bool {
	name := strings.ToLower(e.name)
	if w.glob != nil {
		return globs(w.glob, name)
	}
	if strings.HasPrefix(name, w.text) {
		return true
	}
	if w.hex {
		for _, d := range []unique.Handle[schema.Digest]{e.installed, e.downloaded, e.target} {
			if startsHex(d.Value(), w.text) {
				return true
			}
		}
		if e.assigned != nil && startsHex(e.assigned.SHA256, w.text) {
			return true
		}
	}
	return e.err != "" && strings.Contains(strings.ToLower(e.err), w.text)
}

// globs reports whether s is the parts with anything between them.
func globs(parts []string, s string) bool {
	last := len(parts) - 1
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1:last] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[last])
}

const hexDigits = "0123456789abcdef"

// startsHex reports whether d begins with those hex digits; nothing begins with none.
func startsHex(d schema.Digest, digits string) bool {
	if d.IsZero() || digits == "" || len(digits) > 2*len(d) {
		return false
	}
	for i := range len(digits) {
		b := d[i/2]
		if i%2 == 0 {
			b >>= 4
		}
		if hexDigits[b&15] != digits[i] {
			return false
		}
	}
	return true
}
