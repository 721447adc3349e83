// Package archive takes single files out of archives that others made: what a vendor ships is a deb, an rpm, a tar or a
// zip, and a plugin wants one program of it.
//
// Which kind it is shows in the content, never in a name. Read goes through an archive once and yields its Table: every
// member's size and digest. Find looks a member up in it, through links. Copy goes through the archive again, up to
// that member, and writes its bytes. So an archive is never held in memory, nor is a member.
//
// Nothing is believed: names count after they are cleaned and never lead out, links lead to other members only, what is
// there twice is refused when it is asked for, and sizes, numbers and dictionaries are bounded before memory is spent.
package archive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Table lists what an archive holds.
type Table struct {
	Kind    string // tar, zip, deb or rpm
	entries []entry
	names   map[string]int // where in entries; of those with one name, the last
	twice   map[string]bool
	links   int
}

type entry struct {
	kind  kind
	exec  bool
	inode [3]uint32
	link  string
	name  string
	size  int64
	sum   schema.Digest
}

// Member is a regular file of an archive.
type Member struct {
	Name   string // links followed
	Size   int64
	SHA256 schema.Digest
	at     int
}

// Read lists an archive of that size. Errors say what is wrong with it; those of r are wrapped.
func Read(ctx context.Context, r io.ReaderAt, size int64) (*Table, error) {
	return read(ctx, r, size, defaultBounds)
}

func read(ctx context.Context, r io.ReaderAt, size int64, b bounds) (*Table, error) {
	if size > b.Packed {
		return nil, fmt.Errorf("an archive of more than %d bytes", b.Packed)
	}
	inflated, named := &budget{left: b.Inflated}, b.Names
	what, w, err := open(ctx, r, size, b)
	if err != nil {
		return nil, err
	}
	defer w.close()
	t := &Table{Kind: what, names: map[string]int{}, twice: map[string]bool{}, links: b.Links}
	full := map[[3]uint32]int{} // which of the members that share an inode has the content
	for {
		it, err := w.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, wrong(what, err)
		}
		named -= len(it.name) + len(it.link)
		if len(t.entries) == b.Members || named < 0 {
			return nil, fmt.Errorf("an archive with too many members or too long names: at most %d, and %d bytes", b.Members,
				b.Names)
		}
		e := entry{kind: it.kind, exec: it.exec, inode: it.inode, link: it.link}
		if e.kind == regular {
			h := sha256.New()
			if e.size, err = io.Copy(h, inflated.reader(w)); err != nil {
				return nil, wrong(what, err)
			}
			e.sum = schema.Digest(h.Sum(nil))
			if e.size > 0 && e.inode != [3]uint32{} {
				full[e.inode] = len(t.entries)
			}
		}
		t.add(e, Clean(it.name))
	}
	for i := range t.entries {
		if e := &t.entries[i]; e.kind == regular && e.size == 0 && e.inode != [3]uint32{} {
			if from, ok := full[e.inode]; ok {
				e.kind, e.link = hardlink, t.entries[from].name
			}
		}
	}
	return t, nil
}

func (t *Table) add(e entry, name string) {
	e.name = name
	if was, ok := t.names[name]; ok && (e.kind != directory || t.entries[was].kind != directory) {
		t.twice[name] = true
	}
	if name != "" { // else nothing can ask for it
		t.names[name] = len(t.entries)
	}
	t.entries = append(t.entries, e)
}

// Clean is the one form of a member's name: without "./" or "/" in front, and nothing if it leads out of the archive.
func Clean(name string) string {
	name = path.Clean(strings.TrimLeft(name, "/"))
	if name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return ""
	}
	return name
}

// MissingError says that an archive has no such member.
type MissingError struct {
	Name string
	Near []string // members that may be meant, the likeliest first
}

func (e *MissingError) Error() string { return fmt.Sprintf("the archive has no member %q", e.Name) }

// Find returns the regular file of that name. Its error is a *MissingError if there is none.
func (t *Table) Find(name string) (*Member, error) {
	asked, steps := Clean(name), t.links
	for name = asked; ; steps-- {
		at, whole, err := t.step(name)
		if err != nil {
			return nil, err
		}
		if at < 0 {
			if name != asked {
				return nil, fmt.Errorf("%q is a link to %q, which is not in the archive", asked, name)
			}
			return nil, t.missing(name)
		}
		e := &t.entries[at]
		switch {
		case whole && e.kind == regular:
			return &Member{Name: name, Size: e.size, SHA256: e.sum, at: at}, nil
		case whole && e.kind == directory:
			return nil, fmt.Errorf("%q is a directory", name)
		case e.kind == other:
			return nil, fmt.Errorf("%q is no regular file", e.name)
		}
		to := Clean(e.link)
		if e.kind == symlink && !strings.HasPrefix(e.link, "/") {
			to = Clean(path.Join(path.Dir(e.name), e.link))
		}
		if to == "" {
			return nil, fmt.Errorf("%q is a link to %q, which leads out of the archive", e.name, e.link)
		}
		if steps == 0 {
			return nil, fmt.Errorf("%q is a link that does not end", asked)
		}
		name = to + strings.TrimPrefix(name, e.name)
	}
}

// step finds the entry of name, or else of the first link that it lies below; at is -1 if there is neither.
func (t *Table) step(name string) (at int, whole bool, err error) {
	at = -1
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		n, ok := t.names[name[:i]]
		if !ok {
			continue
		}
		switch whole = i == len(name); {
		case t.twice[name[:i]] && (whole || t.entries[n].kind != directory):
			return 0, false, fmt.Errorf("the archive has %q twice", name[:i])
		case whole && at >= 0:
			return 0, false, fmt.Errorf("the archive has %q, but %q is a link", name, t.entries[at].name)
		case whole:
			return n, true, nil
		case t.entries[n].kind == symlink && at < 0:
			at = n
		}
	}
	return at, false, nil
}

func (t *Table) missing(name string) error {
	err := &MissingError{Name: name, Near: t.near(name)}
	if len(err.Near) == 0 {
		return err
	}
	return fault.Hint(err, "it has %s", strings.Join(quoted(err.Near), ", "))
}

func quoted(names []string) (q []string) {
	for _, name := range names {
		q = append(q, strconv.Quote(name))
	}
	return q
}

// near are members that may be meant by name: those that are called alike first, by the length of what else is alike.
func (t *Table) near(name string) []string {
	type guess struct {
		name  string
		score int
	}
	var all []guess
	base := strings.ToLower(path.Base(name))
	for _, e := range t.entries {
		if e.kind == directory || e.kind == other || e.name == "" {
			continue
		}
		is, score := strings.ToLower(path.Base(e.name)), 0
		switch {
		case is == base:
			score = 3000
		case strings.Contains(is, base) || strings.Contains(base, is):
			score = 2000
		default:
			if score = alike(is, base); score < 3 || 2*score < len(base) {
				continue
			}
		}
		all = append(all, guess{e.name, score + alike(e.name, name)})
	}
	slices.SortStableFunc(all, func(a, b guess) int { return b.score - a.score })
	var names []string
	for _, g := range all[:min(3, len(all))] {
		names = append(names, g.name)
	}
	return names
}

// alike is how many bytes two names begin with alike.
func alike(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Copy writes m, which Find returned, from the same archive. What it wrote is wrong if it fails.
func (t *Table) Copy(ctx context.Context, dst io.Writer, r io.ReaderAt, size int64, m *Member) error {
	what, w, err := open(ctx, r, size, defaultBounds)
	if err != nil {
		return err
	}
	defer w.close()
	for range m.at + 1 {
		if _, err := w.next(); err != nil {
			return wrong(what, err)
		}
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, h), io.LimitReader(w, m.Size+1))
	if err != nil {
		return wrong(what, err)
	}
	if n != m.Size || schema.Digest(h.Sum(nil)) != m.SHA256 {
		return fmt.Errorf("member %q changed while it was read", m.Name)
	}
	return nil
}
