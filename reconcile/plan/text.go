package plan

import (
	"fmt"
	"io"
	"strings"

	"bakehouse/reconcile/console"
)

// Text writes the report for a terminal.
func (r *Report) Text(w io.Writer) error {
	t := &text{}
	t.line(0, "plan for %s: %s, compared with %s", r.Fleet, r.To.Name, r.From.Name)
	t.line(0, "%s", r.Summary.headline())
	for _, note := range r.Notes {
		t.line(0, "note: %s", note)
	}
	if root := r.RootItems(); len(root) > 0 {
		t.line(0, "")
		t.line(0, "acts as root:")
		for _, it := range root {
			t.line(1, "! %s %s %s (%s, plugin %s, %s)", it.Kind, it.Name, it.Action, it.Root, it.Plugin, console.Count(it.Hosts, "host"))
		}
	}
	if len(r.Settings) > 0 {
		t.line(0, "")
		t.line(0, "for the whole fleet:")
		for _, s := range r.Settings {
			t.setting(s)
		}
	}
	for i := range r.Groups {
		t.group(&r.Groups[i])
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// text collects lines. Whatever comes from the repo goes through visible.
type text struct{ b strings.Builder }

func (t *text) line(indent int, format string, args ...any) {
	s := strings.Repeat("  ", indent) + visible(fmt.Sprintf(format, args...), false)
	t.b.WriteString(strings.TrimRight(s, " ") + "\n")
}

func (t *text) setting(s Setting) {
	at := ""
	if !s.At.IsZero() {
		at = "  by " + s.At.String()
	}
	t.line(1, "%s: %s -> %s%s", s.Name, value(s.Before), value(s.After), at)
}

func (t *text) group(g *Group) {
	t.line(0, "")
	t.line(0, "%s: %s", g.title(), some(g.Hosts))
	for i, c := range g.Causes {
		if i == maxCauses {
			t.line(1, "by %d more", len(g.Causes)-maxCauses)
			break
		}
		t.line(1, "by %s  %s", c.What, c.place())
	}
	if g.Note != "" {
		t.line(1, "(%s)", g.Note)
	}
	for _, s := range g.Attributes {
		t.setting(s)
	}
	fresh, known := g.split()
	for i := range fresh {
		t.item(&fresh[i])
	}
	if len(known) > 0 {
		t.line(1, "  and %s as other hosts have them: %s", console.Count(len(known), "item"), names(known))
	}
}

func (t *text) item(it *Item) {
	mark, root := " ", ""
	if it.Root != "" {
		mark, root = "!", " ("+it.Root+")"
	}
	detail := it.change()
	if detail != "" {
		detail = ": " + detail
	}
	t.line(1, "%s %s %s %s%s%s", mark, it.Kind, it.Name, it.Action, root, detail)
	for line := range strings.Lines(it.Diff) {
		t.line(4, "%s", strings.TrimSuffix(line, "\n"))
	}
	if it.Cut > 0 {
		t.line(4, "… %s more", console.Count(it.Cut, "line"))
	}
}
