package bake

import (
	"cmp"
	"slices"

	"bakehouse/schema"
)

// listed is files of a package, and what reading them yielded: those in a segment, or its own if that is zero.
type listed struct {
	segment schema.Digest
	files   []*file
	sums    []fileSum
}

func (b *Baked) list(segment schema.Digest, files []*file, sums []fileSum) {
	if len(files) > 0 {
		b.files = append(b.files, listed{segment, files, sums})
	}
}

// Lists is what the store keeps to say which files a package holds, encoded, by its manifest's digest; and the same of
// each segment that holds some, by the segment's digest, unless told says that it was listed before. Afterwards b holds
// no files any more: a pass keeps thousands.
func (b *Baked) Lists(told func(segment schema.Digest) bool) (lists map[schema.Digest][]byte, err error) {
	c := &schema.Contents{Schema: schema.ContentsSchema, Files: []schema.ContentsEntry{}}
	lists = map[schema.Digest][]byte{}
	for _, l := range b.files {
		entries := l.entries()
		for _, e := range entries {
			if e.Plugin != "" && !slices.Contains(c.Plugins, e.Plugin) {
				c.Plugins = append(c.Plugins, e.Plugin)
			}
		}
		switch {
		case len(entries) == 0:
			continue
		case l.segment.IsZero():
			c.Files = entries
			continue
		}
		c.Shared = append(c.Shared, l.segment)
		if told(l.segment) {
			continue
		}
		of := &schema.Contents{Schema: schema.ContentsSchema, Files: entries}
		if lists[l.segment], err = of.Encode(); err != nil {
			return nil, err
		}
	}
	slices.Sort(c.Plugins)
	lists[b.Digest], err = c.Encode()
	b.files = nil
	return lists, err
}

func (l listed) entries() []schema.ContentsEntry {
	entries := []schema.ContentsEntry{}
	read := map[string]fileSum{}
	for _, s := range l.sums {
		read[s.path] = s
	}
	for _, f := range l.files {
		s, ok := read[f.path]
		if f.mode.IsDir() || !ok {
			continue
		}
		e := schema.ContentsEntry{Path: f.path, Mode: f.mode.Perm(), Size: s.size, SHA256: s.sha}
		if f.plugin != madeHere {
			e.Plugin = f.plugin
		}
		if f.owner != "" || f.group != "" {
			e.Owner = cmp.Or(f.owner, "root") + ":" + cmp.Or(f.group, "root")
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b schema.ContentsEntry) int { return cmp.Compare(a.Path, b.Path) })
	return entries
}

// madeHere stands for the plugin of a file that no plugin has.
const madeHere = "(all)"
