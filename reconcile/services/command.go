package services

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	variable = regexp.MustCompile(`^\$[A-Za-z_][A-Za-z0-9_]*$`)
	braced   = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}`)
)

// shellCommand turns a command line of systemd's (systemd.service(5), "command lines") into one of sh's that means the same.
// $NAME that is a word becomes the words of its value, ${NAME} is a part of its word, and nothing else means anything to
// either. Specifiers, backslashes and variables in quotes are refused.
func shellCommand(exec string) (string, error) {
	var words []string
	rest := strings.TrimSpace(exec)
	for rest != "" {
		word, n, err := shellWord(rest)
		if err != nil {
			return "", fmt.Errorf("command line %.120q: %w", exec, err)
		}
		words = append(words, word)
		rest = strings.TrimLeft(rest[n:], " \t")
	}
	if len(words) == 0 || !strings.HasPrefix(words[0], "/") {
		return "", fmt.Errorf("command line %.120q does not start with an absolute path", exec)
	}
	return strings.Join(words, " "), nil
}

// shellWord is the first word of s for sh, and its length in s.
func shellWord(s string) (word string, n int, err error) {
	end := strings.IndexAny(s+" ", " \t")
	if variable.MatchString(s[:end]) {
		return s[:end], end, nil
	}
	var b strings.Builder
	for n < len(s) && s[n] != ' ' && s[n] != '\t' {
		switch c := s[n]; {
		case strings.HasPrefix(s[n:], "%%"), strings.HasPrefix(s[n:], "$$"):
			b.WriteString(quote(s[n : n+1]))
			n += 2
		case c == '$' && braced.MatchString(s[n:]):
			v := braced.FindString(s[n:])
			b.WriteString(`"` + v + `"`)
			n += len(v)
		case c == '%', c == '$', c == '\\':
			return "", 0, fmt.Errorf("%q means something to systemd only", s[n:min(len(s), n+2)])
		case c == '\'' || c == '"':
			inner, _, closed := strings.Cut(s[n+1:], string(c))
			if !closed || strings.ContainsAny(inner, `\$%`) {
				return "", 0, fmt.Errorf("what is quoted there, systemd alone reads")
			}
			b.WriteString(quote(inner))
			n += len(inner) + 2
		default:
			b.WriteString(quote(s[n : n+1]))
			n++
		}
	}
	return b.String(), n, nil
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote is a word that sh takes as it is.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
