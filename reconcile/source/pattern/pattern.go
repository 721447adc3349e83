// Package pattern matches paths as .gitignore and .gitattributes do.
//
// Paths are relative to the top of the work tree, with slashes. A file's patterns are about the directory that it is
// in, and later ones win over earlier ones.
package pattern

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

// glob is one pattern, compiled.
type glob struct {
	re   *regexp.Regexp // nil: matches nothing
	base bool           // it is about the last name of a path only
	dir  bool           // and matches directories only
	in   string         // the directory that it is about, "" for the top
}

// compile reads a pattern without its negation. fold ignores case.
func compile(text, in string, fold bool) glob {
	g := glob{in: in}
	text, g.dir = strings.CutSuffix(text, "/")
	g.base = !strings.Contains(text, "/")
	text = strings.TrimPrefix(text, "/")
	expr := translate(text)
	if fold {
		expr = "(?i)" + expr
	}
	g.re, _ = regexp.Compile(expr) // git takes a pattern that is malformed for one that matches nothing
	return g
}

func (g glob) match(name string, isDir bool) bool {
	if g.re == nil || g.dir && !isDir {
		return false
	}
	if g.in != "" {
		below, ok := strings.CutPrefix(name, g.in+"/")
		if !ok {
			return false
		}
		name = below
	}
	if g.base {
		name = path.Base(name)
	}
	return g.re.MatchString(name)
}

// translate makes a regular expression of a glob.
func translate(text string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch c := text[i]; {
		case rest == "**" && (i == 0 || text[i-1] == '/'):
			b.WriteString(`.+`)
			i++
		case strings.HasPrefix(rest, "**/") && (i == 0 || text[i-1] == '/'):
			b.WriteString(`(?:.*/)?`)
			i += 2
		case c == '*':
			for i+1 < len(text) && text[i+1] == '*' {
				i++
			}
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
		case c == '[':
			class, n := classOf(rest)
			if n == 0 {
				return `[` // malformed
			}
			b.WriteString(class)
			i += n - 1
		case c == '\\' && len(rest) > 1:
			i++
			b.WriteString(regexp.QuoteMeta(text[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(text[i : i+1]))
		}
	}
	return b.String() + `\z`
}

// classOf translates the class that text begins with, and returns how long it is; 0 if it does not end.
func classOf(text string) (class string, n int) {
	var b strings.Builder
	b.WriteString("[")
	i := 1
	if i < len(text) && (text[i] == '!' || text[i] == '^') {
		b.WriteString("^/")
		i++
	}
	for first := true; i < len(text); first = false {
		switch c := text[i]; {
		case c == ']' && !first:
			return b.String() + "]", i + 1
		case strings.HasPrefix(text[i:], "[:"):
			end := strings.Index(text[i:], ":]")
			if end < 0 {
				return "", 0
			}
			b.WriteString(text[i : i+end+2])
			i += end + 2
			continue
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteString(`\` + text[i:i+1])
		case c == '-' && !first && i+1 < len(text) && text[i+1] != ']':
			b.WriteString("-")
		default:
			if c < 0x80 && !isWord(c) {
				b.WriteString(`\`)
			}
			b.WriteByte(c)
		}
		i++
	}
	return "", 0
}

func isWord(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == ' '
}

// lines calls each with the lines of a file that are neither empty nor comments.
func lines(data []byte, each func(string)) {
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line != "" && line[0] != '#' {
			each(line)
		}
	}
}

// Ignore is what .gitignore and other files of that form say, the weakest first.
type Ignore []ignoreRule

type ignoreRule struct {
	glob
	keep bool
}

// ParseIgnore reads a file about the directory in, "" for the top.
func ParseIgnore(data []byte, in string, fold bool) (rules Ignore) {
	lines(data, func(line string) {
		for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
			line = line[:len(line)-1]
		}
		text, keep := strings.CutPrefix(line, "!")
		if text != "" && text != "/" {
			rules = append(rules, ignoreRule{compile(text, in, fold), keep})
		}
	})
	return rules
}

// Match reports whether a path is ignored. What is in a directory that is ignored is not asked for.
func (rules Ignore) Match(name string, isDir bool) bool {
	for i := len(rules) - 1; i >= 0; i-- {
		if rules[i].match(name, isDir) {
			return !rules[i].keep
		}
	}
	return false
}

// Attributes is what .gitattributes and other files of that form say, the weakest first.
type Attributes []attributeRule

type attributeRule struct {
	glob
	macro  string // not empty: it defines this attribute instead of being about paths
	values []attribute
}

// attribute is one that is set to a value: "true", "false" or another; "" takes back what weaker rules say.
type attribute struct{ name, value string }

// builtin is the macro that git knows.
var builtin = Attributes{{macro: "binary",
	values: []attribute{{"diff", "false"}, {"merge", "false"}, {"text", "false"}}}}

// ParseAttributes reads a file about the directory in, "" for the top.
func ParseAttributes(data []byte, in string, fold bool) (rules Attributes) {
	lines(data, func(line string) {
		line = strings.TrimLeft(line, " \t")
		text, rest := line, ""
		if quoted, err := strconv.QuotedPrefix(line); err == nil && quoted[0] == '"' {
			text, _ = strconv.Unquote(quoted)
			rest = line[len(quoted):]
		} else if i := strings.IndexAny(line, " \t"); i >= 0 {
			text, rest = line[:i], line[i:]
		}
		if text == "" || text[0] == '!' || strings.HasSuffix(text, "/") {
			return // git has no patterns of these kinds for attributes
		}
		rule := attributeRule{}
		if name, ok := strings.CutPrefix(text, "[attr]"); ok {
			rule.macro = name
		} else {
			rule.glob = compile(text, in, fold)
		}
		for _, field := range strings.Fields(rest) {
			name, value, ok := strings.Cut(field, "=")
			switch {
			case ok:
			case field[0] == '-':
				name, value = field[1:], "false"
			case field[0] == '!':
				name = field[1:]
			default:
				value = "true"
			}
			rule.values = append(rule.values, attribute{name, value})
		}
		rules = append(rules, rule)
	})
	return rules
}

// Get is the value of an attribute of a file: "true", "false", another, or "" if nothing says it.
func (rules Attributes) Get(name, attr string) string {
	v, _ := rules.get(name, attr)
	return v
}

func (rules Attributes) get(name, attr string) (value string, found bool) {
	for i := len(rules) - 1; i >= 0; i-- {
		r := rules[i]
		if r.macro != "" || len(r.values) == 0 || !r.match(name, false) {
			continue
		}
		for j := len(r.values) - 1; j >= 0; j-- {
			if v := r.values[j]; v.name == attr {
				return v.value, true
			} else if v.value == "true" {
				if value, ok := rules.inMacro(v.name, attr, 0); ok {
					return value, true
				}
			}
		}
	}
	return "", false
}

// inMacro is what a macro says of an attribute.
func (rules Attributes) inMacro(macro, attr string, depth int) (value string, found bool) {
	const deepest = 5
	all := append(builtin, rules...)
	for i := len(all) - 1; i >= 0 && depth < deepest; i-- {
		if all[i].macro != macro {
			continue
		}
		for j := len(all[i].values) - 1; j >= 0; j-- {
			v := all[i].values[j]
			if v.name == attr {
				return v.value, true
			}
			if v.value == "true" {
				if value, ok := rules.inMacro(v.name, attr, depth+1); ok {
					return value, true
				}
			}
		}
		return "", false
	}
	return "", false
}
