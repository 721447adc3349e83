package plan

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// The kinds of item.
const (
	ItemScript    = "script"         // a step of the installation
	ItemService   = "service"        // a unit
	ItemInterval  = "interval"       // a command that is run again and again
	ItemUser      = "user"           // a system user that is made
	ItemGroup     = "group"          // likewise
	ItemRelations = "other packages" // what the plugin says of them
	ItemHealth    = "health check"
	ItemKeeps     = "kept names" // which the monitoring has to print after an update as before
	ItemFile      = "file"
)

// The actions on an item.
const (
	ActionAdded   = "added"
	ActionRemoved = "removed"
	ActionChanged = "changed"
)

// Item is one thing in a package that is not as it was.
type Item struct {
	Kind   string   `json:"kind"`
	Action string   `json:"action"`
	Plugin string   `json:"plugin"`
	Name   string   `json:"name"`           // path, service or step
	Root   string   `json:"root,omitempty"` // why it acts as root; empty: it does not
	Before *Content `json:"before,omitempty"`
	After  *Content `json:"after,omitempty"`
	Diff   string   `json:"diff,omitempty"` // unified; none for what is not text or is too large
	Cut    int      `json:"cut,omitempty"`  // lines that Diff lacks at its end
	// Known is true for what is added to a host, but other hosts have had alike. There is no Diff then.
	Known bool `json:"known,omitempty"`
}

// Content is what an item is on one side. Size is in bytes, -1 if it is not known before baking.
type Content struct {
	Mode  string `json:"mode,omitempty"`  // of files, octal
	Owner string `json:"owner,omitempty"` // of files, USER:GROUP; empty: root's
	// Capabilities are of files, such as cap_net_raw, with a comma between them.
	Capabilities string        `json:"capabilities,omitempty"`
	Size         int64         `json:"size"`
	SHA256       schema.Digest `json:"sha256"`
	// Origin is where the bytes come from, if SHA256 is not of them but of that (fleet.File.ByProvenance).
	Origin string `json:"origin,omitempty"`
	// What it is, if no regular file: a directory, or a symbolic link and where it leads.
	What string                `json:"what,omitempty"`
	text func() ([]byte, bool) // nil or false: not to be shown
	root string
}

// place is what an item is called within a package.
type place struct{ kind, plugin, name string }

// pair compares two recipes, each pair once.
func (b *builder) pair(was, is *rules.Recipe) *pairDiff {
	p := pair{was, is}
	if d := b.pairs[p]; d != nil {
		return d
	}
	d := &pairDiff{items: compare(b.mask, contents(was, b.before.Files), contents(is, b.after.Files))}
	if was == nil {
		b.recognise(d.items)
	}
	hide(b.mask, d.items)
	key, err := json.Marshal(d.items)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	d.key = schema.DigestOf(key).String()
	b.pairs[p] = d
	return d
}

// hide takes secrets out of all that items tell: a plugin may put its parameters anywhere. Diffs are without them
// already.
func hide(m fleet.Mask, items []Item) {
	for i := range items {
		it := &items[i]
		it.Name, it.Root = m.Text(it.Name), m.Text(it.Root)
		for _, c := range []*Content{it.Before, it.After} {
			if c != nil {
				c.Owner, c.Capabilities = m.Text(c.Owner), m.Text(c.Capabilities)
				c.Origin, c.What = m.Text(c.Origin), m.Text(c.What)
			}
		}
	}
}

// recognise marks what other hosts have had alike, and moves it to the end.
func (b *builder) recognise(items []Item) {
	if b.known == nil {
		b.known = map[known]bool{}
		if b.before.Resolved != nil {
			for _, r := range b.before.Resolved.Recipes {
				for at, c := range contents(r, b.before.Files) {
					b.known[c.as(at)] = true
				}
			}
		}
	}
	for i := range items {
		it := &items[i]
		if it.After != nil && b.known[it.After.as(place{it.Kind, it.Plugin, it.Name})] {
			it.Known, it.Diff, it.Cut = true, "", 0
		}
	}
	slices.SortStableFunc(items, func(x, y Item) int { return first(!x.Known, !y.Known) })
}

// known is an item's content as some host had it.
type known struct {
	place
	mode  string
	owner string
	caps  string
	sum   schema.Digest
}

func (c *Content) as(at place) known { return known{at, c.Mode, c.Owner, c.Capabilities, c.SHA256} }

// compare lists what differs, what acts as root first.
func compare(m fleet.Mask, was, is map[place]*Content) []Item {
	items := []Item{}
	for _, at := range slices.SortedFunc(maps.Keys(union(was, is)), place.compare) {
		old, now := was[at], is[at]
		it := Item{Kind: at.kind, Plugin: at.plugin, Name: at.name, Before: old, After: now, Action: ActionChanged}
		switch {
		case old == nil:
			it.Action, it.Root = ActionAdded, now.root
		case now == nil:
			it.Action, it.Root = ActionRemoved, old.root
		case old.SHA256 == now.SHA256 && old.Mode == now.Mode && old.Owner == now.Owner &&
			old.Capabilities == now.Capabilities:
			continue
		default:
			it.Root = now.root
			if it.weight() > weight(old.root) {
				it.Root = old.root
			}
		}
		it.Diff, it.Cut = textDiff(m, old, now)
		items = append(items, it)
	}
	slices.SortStableFunc(items, func(x, y Item) int { return cmp.Compare(x.weight(), y.weight()) })
	return items
}

func union(a, b map[place]*Content) map[place]bool {
	all := map[place]bool{}
	for at := range a {
		all[at] = true
	}
	for at := range b {
		all[at] = true
	}
	return all
}

// compare orders items by what they can do.
func (p place) compare(q place) int {
	kinds := []string{ItemScript, ItemService, ItemInterval, ItemUser, ItemGroup, ItemRelations, ItemHealth, ItemKeeps,
		ItemFile}
	return cmp.Or(cmp.Compare(slices.Index(kinds, p.kind), slices.Index(kinds, q.kind)),
		strings.Compare(p.name, q.name), strings.Compare(p.plugin, q.plugin))
}

// contents is everything that a recipe's ID covers, so that recipes with equal contents are equal. A nil recipe has none.
func contents(r *rules.Recipe, repo fs.FS) map[place]*Content {
	out := map[place]*Content{}
	if r == nil {
		return out
	}
	inline := func(kind, plugin, name, root string, text []byte) {
		out[place{kind, plugin, name}] = &Content{Size: int64(len(text)), SHA256: schema.DigestOf(text), root: root,
			text: func() ([]byte, bool) { return text, true }}
	}
	for _, o := range r.Outputs {
		for step, text := range o.Scripts {
			inline(ItemScript, o.Plugin, step, "runs as root when the package is installed or removed", []byte(text))
		}
		for _, s := range o.Services {
			root := "runs as " + cmp.Or(s.User, "root")
			if len(s.Listen) > 0 {
				root += ", for whoever connects to " + strings.Join(s.Listen, " or ")
			}
			inline(ItemService, o.Plugin, s.Name, root, pretty(s))
		}
		for _, i := range o.Intervals {
			inline(ItemInterval, o.Plugin, i.Name, "runs as "+cmp.Or(i.User, "root")+" every "+i.Every.String(), pretty(i))
		}
		for _, u := range o.Users {
			inline(ItemUser, o.Plugin, u.Name, "is made on the host", pretty(u))
		}
		for _, g := range o.Groups {
			inline(ItemGroup, o.Plugin, g, "is made on the host", nil)
		}
		if r := o.Relations; !r.All.IsZero() || !r.Deb.IsZero() || !r.RPM.IsZero() {
			inline(ItemRelations, o.Plugin, o.Plugin, "the package manager goes by it", pretty(r))
		}
		if o.Health != nil {
			inline(ItemHealth, o.Plugin, o.Plugin, runner(o.Health.User), pretty(o.Health))
		}
		if k := o.Keeps; k != nil {
			root := ""
			if len(k.Command) > 0 {
				root = runner(k.User)
			}
			inline(ItemKeeps, o.Plugin, o.Plugin, root, pretty(k))
		}
		for i := range o.Files {
			f := &o.Files[i]
			c := &Content{Mode: fmt.Sprintf("%#o", bits(f.Mode)), Owner: owner(f), Size: f.Size, SHA256: f.SHA256,
				Capabilities: strings.Join(f.Capabilities, ","), Origin: origin(f), What: kindOf(f),
				root: rootFile(f, r.Outputs),
				text: func() ([]byte, bool) { return fileText(f, repo) }}
			if f.Link != "" {
				c.Mode = ""
			}
			out[place{ItemFile, o.Plugin, f.Path}] = c
		}
	}
	return out
}

// runner words who runs what a package brings along.
func runner(user string) string { return "the updater runs it as " + cmp.Or(user, "root") }

// pretty is v as indented JSON, so that a diff shows single fields.
func pretty(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // strings, numbers and booleans always encode
	}
	return b.Bytes()
}

// bits are permissions as chmod counts them, setuid and its like included.
func bits(m fs.FileMode) uint32 {
	n := uint32(m & 0o7777)
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			n |= bit
		}
	}
	return n
}

// origin words where a file comes from that nobody has seen yet.
func origin(f *fleet.File) string {
	if !f.ByProvenance() {
		return ""
	}
	return fmt.Sprintf("%s of the archive %s at %s", f.Member, f.Archive.Short(), f.URL)
}

// kindOf says what a file is that has no bytes.
func kindOf(f *fleet.File) string {
	switch {
	case f.Mode.IsDir():
		return "directory"
	case f.Link != "":
		return "symbolic link to " + f.Link
	}
	return ""
}

func owner(f *fleet.File) string {
	if f.Owner+f.Group == "" {
		return ""
	}
	return cmp.Or(f.Owner, "root") + ":" + cmp.Or(f.Group, "root")
}

// fileText is the file if it can be shown: inline, or a text of the repo of bearable size. What not everybody may read
// on the host is not: a plan ends in comments and logs.
func fileText(f *fleet.File, repo fs.FS) ([]byte, bool) {
	switch {
	case !f.Regular() || f.Mode&0o004 == 0:
		return nil, false
	case f.Size > maxText:
		return nil, false
	case f.Content != nil:
		return f.Content, true
	case f.Repo == "" || repo == nil:
		return nil, false
	}
	if f.Member != "" {
		var b bytes.Buffer
		err := sourcefile.New(repo).CopyMember(context.Background(), &b, f.Repo, f.Member)
		return b.Bytes(), err == nil && schema.DigestOf(b.Bytes()) == f.SHA256
	}
	r, err := sourcefile.Open(repo, f.Repo)
	if err != nil {
		return nil, false
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxText+1))
	return b, err == nil && schema.DigestOf(b) == f.SHA256
}
