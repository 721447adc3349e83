package evaluate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"

	"bakehouse/reconcile/evaluate/named"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// maxFile bounds a CUE file, in bytes.
const maxFile = 8 << 20

// Hasher is a file system that knows a hash of a file's bytes without reading them, and whose files do not change.
type Hasher interface {
	HashOf(name string) (string, error)
}

// directory is the CUE files of a directory. They are read once, and by a Hasher not before they are needed.
type directory struct {
	fsys  fs.FS
	path  string
	names []string // in the directory
	data  map[string][]byte
}

// newDirectory picks the CUE files among entries, which are those of the directory.
func newDirectory(fsys fs.FS, name string, entries []fs.DirEntry) (*directory, fleet.Problems) {
	var ps fleet.Problems
	d := &directory{fsys: fsys, path: name, data: map[string][]byte{}}
	for _, e := range entries {
		switch {
		case e.IsDir() || !named.CUE(e.Name()):
		case !e.Type().IsRegular():
			ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: path.Join(name, e.Name())}, Msg: "is not a regular file",
				Hint: "symbolic links are not followed: put the file itself here"})
		default:
			d.names = append(d.names, e.Name())
		}
	}
	return d, ps
}

func (d *directory) read(name string) ([]byte, error) {
	if b, ok := d.data[name]; ok {
		return b, nil
	}
	b, err := readFile(d.fsys, path.Join(d.path, name), maxFile)
	if err == nil {
		d.data[name] = b
	}
	return b, err
}

// key names the files in the cache, by a hash of each; nil if one cannot be read.
func (d *directory) key(definition string) []string {
	key := []string{d.path, definition}
	h, known := d.fsys.(Hasher)
	for _, name := range d.names {
		var hash string
		var err error
		if known {
			hash, err = h.HashOf(path.Join(d.path, name))
		} else {
			var b []byte
			b, err = d.read(name)
			sum := sha256.Sum256(b)
			hash = hex.EncodeToString(sum[:])
		}
		if err != nil {
			return nil
		}
		key = append(key, name, hash)
	}
	return key
}

// source is the files to evaluate, and what is wrong with those that cannot be.
func (d *directory) source(definition string) (*result.Source, fleet.Problems) {
	var ps fleet.Problems
	src := &result.Source{Path: d.path, Definition: definition}
	for _, name := range d.names {
		file := path.Join(d.path, name)
		data, err := d.read(name)
		switch {
		case err != nil:
			ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: file}, Msg: err.Error(), Hint: fault.HintOf(err)})
		case conflict(data) > 0:
			ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: file, Line: conflict(data), Col: 1},
				Msg:  "a merge conflict is not resolved here",
				Hint: "resolve it: `git diff` and `git status` show such places; then commit"})
		case sourcefile.IsPointer(data):
			ps = append(ps, pointerProblem(fleet.Pos{File: file}))
		default:
			src.Files = append(src.Files, result.File{Name: file, Data: withLF(data)})
		}
	}
	return src, ps
}

// conflict is the line at which git left both sides of a merge, 0 if there is none.
func conflict(data []byte) int {
	at, marks, next := 0, []string{"<<<<<<< ", "=======", ">>>>>>> "}, 0
	n := 0
	for line := range bytes.Lines(data) {
		if n++; next < len(marks) && bytes.HasPrefix(line, []byte(marks[next])) {
			if next == 0 {
				at = n
			}
			next++
		}
	}
	if next < len(marks) {
		return 0
	}
	return at
}

// withLF is CUE text with Unix line ends, as the commit has it of which a work tree has it with CRLF: they are white
// space, or the line ends of a string of many lines.
func withLF(data []byte) []byte { return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")) }

func pointerProblem(at fleet.Pos) fleet.Problem {
	return fleet.Problem{Pos: at, Msg: "is " + sourcefile.ErrPointer.Error(),
		Hint: "a package is made of what is committed: keep this file out of Git LFS"}
}

// readFile reads a whole file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, sourcefile.Plain(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, sourcefile.Plain(err)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%d bytes, at most %d are read", info.Size(), limit)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, sourcefile.Plain(err)
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b.Bytes(), nil
}
