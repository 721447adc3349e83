// Package listing says which files a package has, and whether what is there is what came. A list is read from the
// staged package, whose bytes are verified; it is kept beside the package's manifest, and compared with the host at
// each update. A file whose size, mode and time of change are those that were seen last is taken for the same; any
// other is digested.
package listing

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"bakehouse/schema"
)

// File is a file or a symbolic link of a package.
type File struct {
	Path   string // absolute
	Mode   fs.FileMode
	Size   int64 // bytes
	Digest schema.Digest
	Link   string // where a link leads; empty: it is a file
	Owner  string // UID:GID, as they were when it was installed; empty: not known yet

	seen int64 // time of the last change when it was last found right, in nanoseconds since 1970; 0: never
}

// List is what a package has.
type List []File

// Record is what a host keeps of an installed package.
type Record struct {
	Witness string // as the package manager's own files were when it was last asked for the version; empty: never
	Files   List
}

const header = "bakehouse files 2 "

// Encode writes r down: the witness, and a line each of mode, size, time, owner, digest, path and link.
func (r *Record) Encode() []byte {
	b := fmt.Appendf(nil, "%s%q\n", header, r.Witness)
	for _, f := range r.Files {
		b = fmt.Appendf(b, "%o %d %d %s %s %q %q\n", f.Mode, f.Size, f.seen, cmp.Or(f.Owner, "-"), f.Digest.Hex(),
			f.Path, f.Link)
	}
	return b
}

// Decode reads what Encode wrote.
func Decode(b []byte) (*Record, error) {
	first, rest, _ := strings.Cut(string(b), "\n")
	witness, ok := strings.CutPrefix(first, header)
	if !ok {
		return nil, errors.New("it is no list of files")
	}
	r := &Record{}
	var err error
	if r.Witness, err = strconv.Unquote(witness); err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	for line := range strings.Lines(rest) {
		f, err := decodeFile(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("line %.80q: %w", line, err)
		}
		r.Files = append(r.Files, f)
	}
	return r, nil
}

func decodeFile(line string) (f File, err error) {
	fields := strings.SplitN(line, " ", 6)
	if len(fields) != 6 {
		return f, errors.New("it is cut off")
	}
	mode, merr := strconv.ParseUint(fields[0], 8, 16)
	size, serr := strconv.ParseInt(fields[1], 10, 64)
	seen, terr := strconv.ParseInt(fields[2], 10, 64)
	digest, derr := schema.ParseDigest("sha256:" + fields[4])
	quoted, err := strconv.QuotedPrefix(fields[5])
	if err = errors.Join(merr, serr, terr, derr, err); err != nil {
		return f, err
	}
	link, ok := strings.CutPrefix(fields[5][len(quoted):], " ")
	if !ok {
		return f, errors.New("it has no link")
	}
	f = File{Mode: fs.FileMode(mode), Size: size, Digest: digest, Owner: fields[3], seen: seen}
	if f.Owner == "-" {
		f.Owner = ""
	}
	var perr, lerr error
	f.Path, perr = strconv.Unquote(quoted)
	f.Link, lerr = strconv.Unquote(link)
	return f, errors.Join(perr, lerr)
}

// Difference is a file that is not as it came, and how.
type Difference struct {
	Path, How string
	index     int
}

func (d Difference) String() string { return d.Path + " " + d.How }

// Check compares l with what is there, which at finds by the path in the package: "" if it is gone. With digest, every
// file is digested. It updates what l remembers of files that are right, and reports whether it did.
func (l List) Check(at func(path string) string, digest bool) (differ []Difference, learnt bool) {
	for i := range l {
		how, fresh := l[i].check(at(l[i].Path), digest)
		learnt = learnt || fresh
		if how != "" {
			differ = append(differ, Difference{l[i].Path, how, i})
		}
	}
	return differ, learnt
}

func (f *File) check(name string, digest bool) (how string, learnt bool) {
	if name == "" {
		return "is missing", false
	}
	fi, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "is missing", false
	}
	if err != nil {
		return "cannot be looked at", false
	}
	if f.Link != "" {
		if to, err := os.Readlink(name); err != nil || to != f.Link {
			return "is no link to " + f.Link, false
		}
		return "", false
	}
	changed := fi.ModTime().UnixNano()
	switch {
	case !fi.Mode().IsRegular():
		return "is no file", false
	case fi.Size() != f.Size:
		return "was changed", false
	case fi.Mode().Perm() != f.Mode:
		return fmt.Sprintf("has mode %o, not %o", fi.Mode().Perm(), f.Mode), false
	case f.Owner != "" && f.Owner != owner(fi):
		return fmt.Sprintf("belongs to %s, not to %s", owner(fi), f.Owner), false
	case !digest && changed == f.seen && f.Owner != "":
		return "", false
	}
	got, err := digestOf(name)
	if err != nil {
		return "cannot be read", false
	}
	if got != f.Digest && !f.Digest.IsZero() {
		return "was changed", false
	}
	learnt = f.seen != changed || f.Owner != owner(fi)
	f.seen, f.Owner = changed, owner(fi)
	return "", learnt
}

func digestOf(name string) (schema.Digest, error) {
	f, err := os.Open(name)
	if err != nil {
		return schema.Digest{}, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return schema.Digest(h.Sum(nil)), err
}

// Settle is l as the host has it just after its installation: what the package's own scripts, or its users, changed of
// it then is right, and what they removed is not missed.
func (l List) Settle(at func(path string) string) List {
	differ, _ := l.Check(at, true)
	wrong := map[int]bool{}
	for _, d := range differ {
		wrong[d.index] = true
	}
	var out List
	for i, f := range l {
		if wrong[i] {
			now, err := seenAs(f.Path, at(f.Path))
			if err != nil {
				continue
			}
			f = now
		}
		out = append(out, f)
	}
	return out
}

// seenAs describes what is there.
func seenAs(path, name string) (File, error) {
	fi, err := os.Lstat(name)
	if err != nil {
		return File{}, err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(name)
		return File{Path: path, Link: to}, err
	}
	if !fi.Mode().IsRegular() {
		return File{}, errors.New("it is no file")
	}
	d, err := digestOf(name)
	return File{Path: path, Mode: fi.Mode().Perm(), Size: fi.Size(), Digest: d, Owner: owner(fi),
		seen: fi.ModTime().UnixNano()}, err
}

// Witness describes files by size, time and number, for a Record; empty if none is there.
func Witness(names []string) (s string) {
	for i, name := range names {
		if fi, err := os.Lstat(name); err == nil {
			s += fmt.Sprintf("%d:%d:%d:%d ", i, fi.Size(), fi.ModTime().UnixNano(), number(fi))
		}
	}
	return s
}
