package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"bakehouse/reconcile/console"
)

// Bounds on lists in the text and markdown forms; JSON has all.
const (
	maxWords  = 12
	maxCauses = 8
)

// visible makes harmless what a terminal would obey or an eye not see: control characters, and characters that turn the
// direction of text or have no width. A newline stays if lines is true.
func visible(s string, lines bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n' && lines, r == '\t':
			b.WriteRune(r)
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
				continue
			}
			b.WriteRune(r)
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// some is the first words of a list.
func some(words []string) string {
	if len(words) > maxWords {
		return strings.Join(words[:maxWords-2], ", ") + fmt.Sprintf(" and %d more", len(words)-maxWords+2)
	}
	return strings.Join(words, ", ")
}

// headline says how many hosts change in which way.
func (s Summary) headline() string {
	if s.Package+s.Attributes+s.Added+s.Removed == 0 {
		return console.Count(s.Hosts, "host") + ", none of which changes"
	}
	parts := []string{console.Count(s.Hosts, "host") + ":"}
	for _, part := range []struct {
		n    int
		what string
	}{{s.Package, "with another package"}, {s.Attributes, "with other attributes"}, {s.Added, "added"}, {s.Removed, "removed"}, {s.Unchanged, "unchanged"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s,", part.n, part.what))
		}
	}
	text := strings.TrimSuffix(strings.Join(parts, " "), ",")
	if s.Bake > 0 {
		text += "; " + console.Count(s.Bake, "package") + " to bake"
	}
	return text
}

// title is what happens to the hosts of a group.
func (g *Group) title() string {
	hosts := console.Count(len(g.Hosts), "host")
	switch g.Kind {
	case Repackage:
		return "another package for " + hosts
	case Added:
		return hosts + " added"
	case Removed:
		if g.Folder == "" {
			return hosts + " removed"
		}
		return hosts + " removed from " + g.Folder
	}
	return "other attributes for " + hosts
}

// split parts the items into those to show and those that are known from other hosts.
func (g *Group) split() (fresh, known []Item) {
	i := slices.IndexFunc(g.Items, func(it Item) bool { return it.Known })
	if i < 0 {
		return g.Items, nil
	}
	return g.Items[:i], g.Items[i:]
}

// names of the first items.
func names(items []Item) string {
	var list []string
	for i := range items {
		list = append(list, items[i].Kind+" "+items[i].Name)
	}
	return some(list)
}

// change is what happens to an item, without its name.
func (it *Item) change() string {
	var parts []string
	if it.Before != nil && it.After != nil {
		if it.Before.Mode != it.After.Mode {
			parts = append(parts, "mode "+it.Before.Mode+" -> "+it.After.Mode)
		}
		if it.Before.Owner != it.After.Owner {
			parts = append(parts, "owner "+cmp.Or(it.Before.Owner, "root:root")+" -> "+cmp.Or(it.After.Owner, "root:root"))
		}
		if it.Before.Capabilities != it.After.Capabilities {
			parts = append(parts, "capabilities "+cmp.Or(it.Before.Capabilities, "none")+" -> "+
				cmp.Or(it.After.Capabilities, "none"))
		}
		if it.Diff == "" && it.Before.SHA256 != it.After.SHA256 {
			parts = append(parts, it.Before.brief()+" -> "+it.After.brief())
		}
	} else {
		c := it.After
		if c == nil {
			c = it.Before
		}
		if c.Mode != "" {
			parts = append(parts, "mode "+c.Mode)
		}
		if c.Owner != "" {
			parts = append(parts, "owner "+c.Owner)
		}
		if c.Capabilities != "" {
			parts = append(parts, "capabilities "+c.Capabilities)
		}
		if it.Kind == ItemFile {
			parts = append(parts, c.brief())
		}
	}
	return strings.Join(parts, ", ")
}

// named reports whether its brief holds a name.
func (c *Content) named() bool { return c != nil && c.What+c.Origin != "" }

// brief is size and digest, or else where the bytes will come from.
func (c *Content) brief() string {
	if c.What != "" || c.Origin != "" {
		return cmp.Or(c.What, c.Origin)
	}
	sum := "sha256 " + c.SHA256.Short()
	if c.SHA256.IsZero() {
		sum = "digest not known yet"
	}
	if c.Size < 0 {
		return sum
	}
	return strconv.FormatInt(c.Size, 10) + " bytes, " + sum
}

// place says where a cause is.
func (c Cause) place() string {
	switch {
	case c.At.IsZero():
		return ""
	case c.Gone:
		return c.At.String() + " (before)"
	}
	return c.At.String()
}

// value is a setting's value for people.
func value(v string) string {
	if v == "" {
		return "none"
	}
	return v
}
