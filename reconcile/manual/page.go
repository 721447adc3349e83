// Package manual writes what there is to read about the operator's program from its commands themselves, so that it
// cannot say something else than they do: a manual page for each, and the table of settings.
package manual

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// A Page is a manual page, in the language of man(7).
type Page struct{ strings.Builder }

// Line writes a line; what it holds of others must be escaped.
func (p *Page) Line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// Text writes a help text: paragraphs, and those that are indented as they are.
func (p *Page) Text(s string) {
	for _, paragraph := range strings.Split(strings.TrimSpace(s), "\n\n") {
		p.Line(".PP")
		example := strings.HasPrefix(paragraph, "  ")
		if example {
			p.Line(".nf")
		}
		for l := range strings.Lines(paragraph) {
			p.Line("%s", Escape(strings.TrimRight(l, "\n")))
		}
		if example {
			p.Line(".fi")
		}
	}
}

// Flags writes the flags that are not hidden, each with its help and what more there is to say of it, if anything.
func (p *Page) Flags(flags *pflag.FlagSet, more func(*pflag.Flag) string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(p, ".TP\n.B %s\\fR", Escape(name))
		if kind != "" {
			fmt.Fprintf(p, " \\fI%s\\fR", Escape(kind))
		}
		p.Line("\n%s", Escape(usage))
		if more != nil {
			if text := more(f); text != "" {
				p.Line("%s", Escape(text))
			}
		}
	})
}

// Escape keeps roff from reading text as requests, and hyphens from becoming typographical ones.
func Escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
