package engine

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// encoding refuses text that is not UTF-8, as editors and shells of other systems write it; nil if it is.
func encoding(f result.File) fleet.Problems {
	p := fleet.Problem{Pos: fleet.Pos{File: f.Name, Line: 1, Col: 1}, Hint: "save the file as UTF-8"}
	head := f.Data[:min(len(f.Data), 512)]
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")),
		bytes.Count(head, []byte{0}) > len(head)/4:
		p.Msg = "is UTF-16, not UTF-8"
	case !utf8.Valid(f.Data):
		at := 0
		for at < len(f.Data) {
			r, size := utf8.DecodeRune(f.Data[at:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			at += size
		}
		p.Pos.Line += bytes.Count(f.Data[:at], []byte("\n"))
		p.Pos.Col += at - 1 - bytes.LastIndexByte(f.Data[:at], '\n')
		p.Msg = fmt.Sprintf("is not UTF-8: byte %#x", f.Data[at])
	default:
		return nil
	}
	return fleet.Problems{p}
}

// unparsed words what the parser says of a file that was written for, or by, another program than cue.
func unparsed(f result.File, ps fleet.Problems) fleet.Problems {
	lines := strings.Split(string(f.Data), "\n")
	if at, line := yamlAt(lines); at > 0 {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(value) != "" {
			line = key + ": …" // which may be a password
		} else if !ok && yamlItem.MatchString(line) {
			line = "- …"
		}
		return fleet.Problems{{Pos: fleet.Pos{File: f.Name, Line: at, Col: 1},
			Msg: fmt.Sprintf("%.40q looks like YAML, and the file is read as CUE", line),
			Hint: "CUE writes {…} and […] around what YAML indents, and a file begins with `package " +
				result.PackageFor(f.Name) + "`; `cue import` converts YAML"}}
	}
	typed := map[int]bool{} // lines whose problem is told
	var out fleet.Problems
	for _, p := range ps {
		if p.Pos.Line > 0 && p.Pos.Line <= len(lines) {
			if col, r := typographic(lines[p.Pos.Line-1]); col > 0 {
				if p.Pos.Col = col; !typed[p.Pos.Line] {
					p.Msg, p.Hint = fmt.Sprintf("%c (%U) is not a character of CUE", r, r), plainly(r)
					out = append(out, p)
				}
				typed[p.Pos.Line] = true
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

// plain is what word processors and web pages make typographic characters of.
var plain = map[rune]string{
	'“': `"`, '”': `"`, '„': `"`, '‟': `"`, '«': `"`, '»': `"`, '″': `"`, '‘': "'", '’': "'", '‚': "'", '′': "'",
	'–': "-", '—': "-", '−': "-", '…': "...", '\u00a0': " ", '\u202f': " ", '\u200b': "", '\ufeff': "",
}

func plainly(r rune) string {
	switch to := plain[r]; to {
	case `"`:
		return `strings are in straight quotation marks: "…"`
	case "", " ":
		return "it is invisible: write a plain space, or nothing"
	default:
		return "write " + to
	}
}

// typographic is the first such character of a line outside of strings and comments, and its column; 0 if there is
// none.
func typographic(line string) (col int, r rune) {
	quoted := false
	for i, r := range line {
		switch _, known := plain[r]; {
		case r == '"' && (i == 0 || line[i-1] != '\\'):
			quoted = !quoted
		case quoted:
		case strings.HasPrefix(line[i:], "//"):
			return 0, 0
		case known:
			return i + 1, r
		}
	}
	return 0, 0
}

var (
	yamlDocument = regexp.MustCompile(`^---\s*$`)
	yamlItem     = regexp.MustCompile(`^\s*- [^\s]`)
	yamlKey      = regexp.MustCompile(`^(\s*)["\w.-]+:\s*$`)
	indented     = regexp.MustCompile(`^(\s+)[\w"-]`)
)

// yamlAt is the first line that YAML has and CUE does not, counted from 1; 0 if there is none.
func yamlAt(lines []string) (int, string) {
	for i, line := range lines {
		if yamlDocument.MatchString(line) || yamlItem.MatchString(line) {
			return i + 1, line
		}
		if key := yamlKey.FindStringSubmatch(line); key != nil && i+1 < len(lines) {
			next := indented.FindStringSubmatch(lines[i+1])
			if next != nil && len(next[1]) > len(key[1]) {
				return i + 1, line
			}
		}
	}
	return 0, ""
}
