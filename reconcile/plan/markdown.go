package plan

import (
	"fmt"
	"io"
	"strings"

	"bakehouse/reconcile/console"
)

// Marker is the first line of every comment, by which a bot finds the one to update.
const Marker = "<!-- bakehouse-plan -->"

// Forges refuse a comment of more than 65,536 characters. Bytes are counted here, of which there are no fewer.
const (
	maxComment = 65_000
	maxGroup   = 12_000 // of one group's details
	maxList    = 12_000 // of each list at the top
)

// Markdown writes the report as a comment for a pull request: the summary first, the details folded. If it would be too
// long, groups in the middle are left out, and that is said.
func (r *Report) Markdown(w io.Writer) error {
	head := r.head()
	var details []string
	size := len(head)
	for i := range r.Groups {
		d := r.Groups[i].details()
		details = append(details, d)
		size += len(d)
	}
	_, err := io.WriteString(w, head+r.fit(details, size, maxComment-len(head)))
	return err
}

// fit joins the details, without those in the middle that would make them longer than room. size is of all with the
// head.
func (r *Report) fit(details []string, size, room int) string {
	if size <= maxComment {
		return strings.Join(details, "")
	}
	room -= 300 // for the line that says so
	var front, back []string
	i, j := 0, len(details)-1
	// Two thirds for the front, where what acts as root is.
	for used := 0; i <= j && used+len(details[i]) <= room*2/3; i++ {
		used += len(details[i])
		front = append(front, details[i])
	}
	room -= len(strings.Join(front, ""))
	for ; j >= i && len(details[j]) <= room; j-- {
		room -= len(details[j])
		back = append([]string{details[j]}, back...)
	}
	hosts := 0
	for _, g := range r.Groups[i : j+1] {
		hosts += len(g.Hosts)
	}
	cut := fmt.Sprintf("\n**%s of %s left out here, because a comment cannot be longer.** Run <code>bakehouse "+
		"plan</code> for all of them.\n\n",
		console.Count(j-i+1, "group"), console.Count(hosts, "host"))
	return strings.Join(front, "") + cut + strings.Join(back, "")
}

// head is the part that is not folded.
func (r *Report) head() string {
	var b strings.Builder
	s := r.Summary
	fmt.Fprintf(&b, "%s\n### Bakehouse plan for %s\n\n", Marker, code(line(r.Fleet)))
	fmt.Fprintf(&b, "%s compared with %s\n\n", code(line(r.To.Name)), code(line(r.From.Name)))
	if r.Refused != "" {
		fmt.Fprintf(&b, "> **Refused:** %s\n\n", escape(clip(r.Refused, 1000)))
	}
	if r.Empty() {
		fmt.Fprintf(&b, "Nothing changes for any of %s.\n", console.Count(s.Hosts, "host"))
	} else {
		b.WriteString("| hosts | another package | other attributes | added | removed | unchanged | packages to bake | " +
			"acts as root |\n")
		b.WriteString("|--:|--:|--:|--:|--:|--:|--:|--:|\n")
		fmt.Fprintf(&b, "| %d | %d | %d | %d | %d | %d | %d | %d |\n", s.Hosts, s.Package, s.Attributes, s.Added, s.Removed,
			s.Unchanged, s.Bake, s.Root)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", escape(clip(note, 500)))
	}
	list(&b, len(r.Warnings), func(i int) string {
		w := &r.Warnings[i]
		return fmt.Sprintf("\n> **⚠️ %s**\n> %s\n", escape(clip(w.At.String()+": "+w.Text, 500)),
			escape(clip(w.Hint, 500)))
	})
	list(&b, len(r.Stranded), func(i int) string {
		s := &r.Stranded[i]
		return fmt.Sprintf("\n> **⚠️ %s**\n> %s\n", escape(clip(s.String(), 500)), escape(clip(s.Hint, 500)))
	})
	list(&b, len(r.Losses), func(i int) string {
		return fmt.Sprintf("\n%s\n", escape(clip(r.Losses[i].String(), 500)))
	})
	if root := r.RootItems(); len(root) > 0 {
		b.WriteString("\n**⚠️ Acts as root, or may**\n\n")
		list(&b, len(root), func(i int) string {
			it := root[i]
			return fmt.Sprintf("- %s %s %s: %s, plugin %s, %s\n", it.Kind, code(line(it.Name)), it.Action,
				escape(line(it.Root)), code(line(it.Plugin)), console.Count(it.Hosts, "host"))
		})
	}
	if len(r.Settings) > 0 {
		b.WriteString("\n**For the whole fleet**\n\n")
		list(&b, len(r.Settings), func(i int) string { return settingLine(r.Settings[i]) })
	}
	b.WriteString("\n")
	return b.String()
}

// list writes n lines, or as many as fit and how many more there are.
func list(b *strings.Builder, n int, entry func(int) string) {
	size := 0
	for i := range n {
		s := entry(i)
		if size += len(s); size > maxList {
			fmt.Fprintf(b, "- and %d more\n", n-i)
			return
		}
		b.WriteString(s)
	}
}

// line keeps what shares its line with more short.
func line(s string) string { return clip(s, 120) }

// clip keeps s short before it is escaped, which may make it five times as long.
func clip(s string, most int) string {
	s = visible(s, false)
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func settingLine(s Setting) string {
	at := ""
	if !s.At.IsZero() {
		at = " by " + code(line(s.At.String()))
	}
	return fmt.Sprintf("- %s: %s → %s%s\n", code(line(s.Name)), code(line(value(s.Before))), code(line(value(s.After))),
		at)
}

// details is one group, folded.
func (g *Group) details() string {
	warn := ""
	if g.Root() {
		warn = "⚠️ "
	}
	// No blank line before the summary ends: until then the lines are HTML, in which nothing is markdown but the emoji.
	head := fmt.Sprintf("<details>\n<summary>%s%s: %s</summary>\n\n", warn, escape(g.title()), code(line(some(g.Hosts))))
	const foot = "\n</details>\n"
	var b strings.Builder
	if len(g.Hosts) > 1 {
		fmt.Fprintf(&b, "Hosts: %s\n\n", code(clip(some(g.Hosts), 1000)))
	}
	for i, c := range g.Causes {
		if i == maxCauses {
			fmt.Fprintf(&b, "- by %d more\n", len(g.Causes)-maxCauses)
			break
		}
		b.WriteString("- by " + code(line(c.What)))
		if at := c.place(); at != "" {
			b.WriteString(" at " + code(line(at)))
		}
		b.WriteString("\n")
	}
	if g.Note != "" {
		fmt.Fprintf(&b, "- %s\n", escape(line(g.Note)))
	}
	for _, s := range g.Attributes {
		b.WriteString(settingLine(s))
	}
	fresh, known := g.split()
	for i := range fresh {
		it := fresh[i].markdown(true)
		if b.Len()+len(it) > maxGroup {
			it = fresh[i].markdown(false)
		}
		if b.Len()+len(it) > maxGroup {
			fmt.Fprintf(&b, "\n**%s left out here.** Run <code>bakehouse plan</code> for all of them.\n",
				console.Count(len(fresh)-i, "more item"))
			break
		}
		b.WriteString(it)
	}
	if len(known) > 0 {
		fmt.Fprintf(&b, "\nand %s as other hosts have them: %s\n", console.Count(len(known), "item"),
			code(clip(names(known), 1000)))
	}
	return head + b.String() + foot
}

// markdown is one item, with its diff if that is wanted.
func (it *Item) markdown(diff bool) string {
	root := ""
	if it.Root != "" {
		root = " ⚠️ " + escape(line(it.Root))
	}
	s := fmt.Sprintf("\n%s %s %s%s", it.Kind, code(line(it.Name)), it.Action, root)
	if detail := it.change(); detail != "" {
		if it.Before.named() || it.After.named() {
			detail = code(clip(detail, 500)) // a name inside an archive, or that a link leads to, is anyone's
		} else {
			detail = escape(detail)
		}
		s += ": " + detail
	}
	s += "\n"
	switch {
	case it.Diff == "":
		return s
	case !diff:
		return s + "(its diff is too long for here)\n"
	}
	const most = 60
	text, cut := cutLines(it.Diff, most)
	var short strings.Builder
	for l := range strings.Lines(text) {
		short.WriteString(line(strings.TrimSuffix(l, "\n")) + "\n")
	}
	s += "\n" + fence("diff", short.String())
	if cut += it.Cut; cut > 0 {
		s += console.Count(cut, "more line") + "\n"
	}
	return s
}
