package plan

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"bakehouse/reconcile/console"
	"bakehouse/schema"
)

// Text writes the report for a terminal. What several groups have alike is shown in the first of them.
func (r *Report) Text(w io.Writer) error {
	t := &text{shown: map[string]bool{}}
	r.top(t)
	for i := range r.Groups {
		t.group(&r.Groups[i])
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// SummaryText writes which hosts change, for which reason and in which items, without the differences in them.
func (r *Report) SummaryText(w io.Writer) error {
	t := &text{}
	r.top(t)
	for i := range r.Groups {
		g := &r.Groups[i]
		t.groupHead(g)
		fresh, known := g.split()
		for _, action := range []string{ActionChanged, ActionAdded, ActionRemoved} {
			of := slices.DeleteFunc(slices.Clone(fresh), func(it Item) bool { return it.Action != action })
			if len(of) > 0 {
				t.line(1, "%s: %s", action, names(of))
			}
		}
		t.knownItems(known)
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// top is what comes before the groups: counts, notes, all that acts as root, settings of the fleet.
func (r *Report) top(t *text) {
	t.line(0, "plan for %s: %s, compared with %s", r.Fleet, r.To.Name, r.From.Name)
	t.line(0, "%s", r.Summary.headline())
	for _, note := range r.Notes {
		t.line(0, "note: %s", note)
	}
	for _, w := range r.Warnings {
		t.line(0, "warning: %s: %s", w.At, w.Text)
		t.line(1, "hint: %s", w.Hint)
	}
	for i := range r.Stranded {
		t.line(0, "warning: %s", &r.Stranded[i])
		t.line(1, "hint: %s", r.Stranded[i].Hint)
	}
	for i := range r.Losses {
		t.line(0, "note: %s", &r.Losses[i])
	}
	if root := r.RootItems(); len(root) > 0 {
		t.line(0, "")
		t.line(0, "acts as root, or may:")
		for _, it := range root {
			t.line(1, "! %s %s %s (%s, plugin %s, %s)", it.Kind, it.Name, it.Action, it.Root, it.Plugin,
				console.Count(it.Hosts, "host"))
		}
	}
	if len(r.Settings) > 0 {
		t.line(0, "")
		t.line(0, "for the whole fleet:")
		for _, s := range r.Settings {
			t.setting(s)
		}
	}
}

// text collects lines. Whatever comes from the repo goes through visible.
type text struct {
	b     strings.Builder
	shown map[string]bool // differences, by item
}

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
	t.groupHead(g)
	fresh, known := g.split()
	for i := range fresh {
		t.item(&fresh[i])
	}
	t.knownItems(known)
}

func (t *text) groupHead(g *Group) {
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
}

func (t *text) knownItems(known []Item) {
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
	key := it.difference()
	again := it.Diff != "" && t.shown[key]
	if t.shown[key] = true; again {
		detail += "; as above"
	}
	t.line(1, "%s %s %s %s%s%s", mark, it.Kind, it.Name, it.Action, root, detail)
	if again {
		return
	}
	for line := range strings.Lines(it.Diff) {
		t.line(4, "%s", strings.TrimSuffix(line, "\n"))
	}
	if it.Cut > 0 {
		t.line(4, "… %s more", console.Count(it.Cut, "line"))
	}
}

// difference is equal for items that show the same difference.
func (it *Item) difference() string {
	sum := func(c *Content) (d schema.Digest) {
		if c != nil {
			d = c.SHA256
		}
		return d
	}
	return fmt.Sprint(it.Kind, it.Plugin, it.Name, sum(it.Before), sum(it.After))
}
