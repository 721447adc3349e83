package output

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// word is a word of a command line.
type word struct {
	raw  string // as it is written
	text string // without quotation marks and escapes
}

// escapes are what systemd reads after a backslash (systemd.syntax(7)).
var escapes = regexp.MustCompile(`^\\(?:[abfnrtv\\"'s]|x[0-9A-Fa-f]{2}|[0-7]{3}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})`)

// specifiers are the letters that mean something to systemd after "%" (systemd.unit(5)).
const specifiers = "%aAbBcCdDEfgGhHiIjJlLmMnNopPqrsStTuUvVwWyY"

// commandLine parts a command line into words as systemd does (systemd.service(5), "command lines"), and refuses what
// systemd would refuse, or take for something else than whoever wrote it. The program may be quoted where its path may
// have blanks.
func commandLine(exec string, quoted bool) (words []word, err error) {
	for rest := strings.Trim(exec, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		w, n, err := nextWord(rest)
		if err != nil {
			return nil, err
		}
		words, rest = append(words, w), rest[n:]
	}
	if len(words) == 0 || !strings.HasPrefix(words[0].raw, "/") && !(quoted && strings.HasPrefix(words[0].text, "/")) {
		return nil, fmt.Errorf("exec does not start with an absolute path")
	}
	switch program := words[0]; {
	case strings.HasSuffix(program.text, "/"):
		return nil, fmt.Errorf("exec starts with a directory, %s, not with a program", result.Quote(program.text))
	case strings.Contains(program.text, "$"):
		return nil, fmt.Errorf("exec: systemd replaces no variable in the path of the program, %s",
			result.Quote(program.text))
	}
	for _, w := range words[1:] {
		switch {
		case w.raw == ";":
			return nil, fmt.Errorf("exec: ; would end the command: write \\; for the argument, or run " +
				"`/bin/sh -c '…; …'`")
		case slices.Contains([]string{"|", "||", "&&", "&", ">", ">>", "<", "2>&1", "2>", ">&2"}, w.raw):
			return nil, fmt.Errorf("exec: no shell reads it, so %s is an argument: run `/bin/sh -c '… %[1]s …'`, "+
				"or write %[2]q if the argument is meant", w.raw, w.raw)
		}
	}
	return words, nil
}

// nextWord is the first word of s, and its length in s.
func nextWord(s string) (word, int, error) {
	var text strings.Builder
	var open byte // the quotation mark that is not closed yet
	n := 0
	for ; n < len(s) && (open != 0 || s[n] != ' ' && s[n] != '\t'); n++ {
		switch c := s[n]; {
		case c == open:
			open = 0
			continue
		case open == 0 && (c == '"' || c == '\''):
			open = c
			continue
		case c == '\\':
			if s == `\;` || strings.HasPrefix(s, `\; `) {
				return word{s[:2], ";"}, 2, nil
			}
			e := escapes.FindString(s[n:])
			if e == "" {
				return word{}, 0, fmt.Errorf("exec: systemd knows no escape %s: write \\\\ for a backslash",
					result.Quote(s[n:min(len(s), n+2)]))
			}
			text.WriteString(e)
			n += len(e) - 1
			continue
		case c == '%':
			if n+1 == len(s) || !strings.ContainsRune(specifiers, rune(s[n+1])) {
				return word{}, 0, fmt.Errorf("exec: systemd knows no %s: write %%%% for a percent sign",
					result.Quote(s[n:min(len(s), n+2)]))
			}
			if s[n+1] != '%' && strings.HasPrefix(strings.TrimLeft(s, `"'`), "+%") {
				return word{}, 0, fmt.Errorf("exec: systemd replaces %s, which is its own and not a part of a date: "+
					"write %%%s", result.Quote(s[n:n+2]), s[n:n+2])
			}
			text.WriteString(s[n : n+2])
			n++
			continue
		}
		text.WriteByte(s[n])
	}
	if open != 0 {
		return word{}, 0, fmt.Errorf("exec: the quotation mark %c is not closed; write \\%[1]c for one that quotes "+
			"nothing", open)
	}
	return word{s[:n], text.String()}, n, nil
}

// runs is a program that a plugin has run, and where that is written.
type runs struct {
	what, path string
	user       string // empty: root
	n          *result.Node
}

// executable refuses programs that the plugin brings and that cannot be run for want of a mode, or that root runs and
// others may change.
func (d *decoder) executable(out *fleet.Output) {
	for _, r := range d.runs {
		i := slices.IndexFunc(out.Files, func(f fleet.File) bool { return f.Path == path.Clean(r.path) })
		if i < 0 {
			continue
		}
		f := &out.Files[i]
		if who := f.Others(); who != "" && (r.user == "" || r.user == "root") {
			d.refuse(r.n, "%s runs %s as root, and %s may change that", r.what, f.Path, who)
			d.ps[len(d.ps)-1].Hint = "leave out the file's owner and group, and let only root write to it (mode: 0o755)"
			continue
		}
		needs := 0o001
		switch {
		case r.user == "" || r.user == "root":
			needs = 0o111
		case r.user == f.Owner:
			needs = 0o100
		case f.Group != "":
			needs = 0o011 // who is in the group, the host knows
		}
		if int(f.Mode)&needs != 0 {
			continue
		}
		who := "nobody"
		if f.Mode&0o111 != 0 {
			who = "not the user " + r.user
		}
		d.refuse(r.n, "%s runs %s, which %s can execute: its mode is 0o%o", r.what, f.Path, who, f.Mode)
		p := &d.ps[len(d.ps)-1]
		p.Hint = "give the file mode: 0o755"
		if !f.Pos.IsZero() && f.Pos != p.Pos {
			p.Also = []fleet.Pos{f.Pos}
		}
	}
}
