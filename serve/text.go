package serve

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes text from outside fit for a log or a page: valid UTF-8 of at most limit bytes, with spaces for control
// and other invisible characters.
func clean(s string, limit int) string {
	s = cut(strings.ToValidUTF8(s, "?"), limit)
	return strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// tail is the end of s, of at most limit bytes, without splitting a character.
func tail(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[len(s)-limit:]
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return s
}

// cut shortens s to at most limit bytes without splitting a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
