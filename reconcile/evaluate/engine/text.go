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
	told := map[int]bool{} // lines whose problem is told
	var out fleet.Problems
	for _, p := range ps {
		if p.Pos.Line > 0 && p.Pos.Line <= len(lines) {
			line := lines[p.Pos.Line-1]
			if col, r := typographic(line); col > 0 {
				p.Pos.Col, p.Msg, p.Hint = col, fmt.Sprintf("%c (%U) is not a character of CUE", r, r), plainly(r)
			} else if col, msg, hint := habit(line); col > 0 {
				p.Pos.Col, p.Msg, p.Hint = col, msg, hint
			} else {
				out = append(out, p)
				continue
			}
			if told[p.Pos.Line] {
				continue
			}
			told[p.Pos.Line] = true
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

// habit is what in a line that does not parse other languages write so, and its column; 0 if nothing is.
func habit(line string) (col int, msg, hint string) {
	bare := unquoted(line)
	if at := hashComment.FindStringSubmatchIndex(bare); at != nil {
		return at[2] + 1, "a comment does not begin with #", "write // in front of it"
	}
	for _, at := range bareLabel.FindAllStringSubmatchIndex(bare, -1) {
		if name := bare[at[2]:at[3]]; !plainLabel.MatchString(name) {
			return at[2] + 1, fmt.Sprintf("the name %.60s has to be in quotation marks", name),
				fmt.Sprintf("write %q, since it has other than letters, digits and _, or begins with a digit", name)
		}
	}
	for _, at := range bareValue.FindAllStringSubmatchIndex(bare, -1) {
		switch value := bare[at[2]:at[3]]; {
		case oldOctal.MatchString(value):
			return at[2] + 1, fmt.Sprintf("%s is not a number of CUE", value),
				"an octal number begins with 0o: 0o" + strings.TrimLeft(value, "0")
		case !number.MatchString(value) && !reference.MatchString(value):
			return at[2] + 1, "this text has to be in quotation marks", `write "…" around it`
		}
	}
	return 0, "", ""
}

// unquoted is a line with spaces in place of what is in quotation marks, and without its comment.
func unquoted(line string) string {
	b := []byte(line)
	for i, quote := 0, byte(0); i < len(b); i++ {
		switch c := b[i]; {
		case quote == 0 && strings.HasPrefix(line[i:], "//"):
			return string(b[:i])
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == '\\':
			b[i] = ' '
			if i++; i == len(b) {
				return string(b)
			}
		case c == quote:
			quote = 0
			continue
		}
		if quote != 0 {
			b[i] = ' '
		}
	}
	return string(b)
}

var (
	hashComment = regexp.MustCompile(`(?:^|\s)(#)(?:\s|$)`)
	bareLabel   = regexp.MustCompile(`(?:^|[\s{,])([0-9A-Za-z_$][\w$.-]*)[?!]?:`)
	plainLabel  = regexp.MustCompile(`^[A-Za-z_$][\w$]*$`)
	bareValue   = regexp.MustCompile(`(?::\s+|\[\s*|,\s*)([0-9A-Za-z_/][^\s,{}\[\]()"'|&*]*)\s*(?:$|[,}\]])`)
	number      = regexp.MustCompile(`^(?:0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|` +
		`[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+|[KMGTP]i?)?)$`)
	oldOctal  = regexp.MustCompile(`^0[0-7]+$`)
	reference = regexp.MustCompile(`^[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*$`) // a reference

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
