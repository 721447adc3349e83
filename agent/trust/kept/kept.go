// Package kept is the directory in which a host keeps verified metadata, so that a crash leaves what was verified
// before or what was verified last.
//
//	root.json  root.copy.json      the newest verified root, twice
//	marks.json marks.copy.json     marks, twice; the one with the higher serial counts
//	N.ROLE.json HEX.policy         what the timestamp names; old versions go once a new timestamp stands
//	timestamp.json                 written last: it commits the others
//
// A plain directory is laid out as other TUF clients do: one ROLE.json for each role, the name Quoted as in a URL, each
// written as soon as it is verified. All that ends in ".json" there is metadata, so what only this package knows is
// named root.copy, marks and marks.copy.
//
// Nothing in here is believed for being here: metadata are verified again as if they came from a server, and marks
// carry a checksum. So a file that is damaged counts as absent. One of two copies restores the other, marks are also
// read off the metadata, and metadata are fetched again. Only if root or marks lose both copies at once does the host
// fall back on what the others still say.
package kept

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// Dir is such a directory, readable by its owner only. A nil *Dir remembers nothing.
type Dir struct {
	Path string
	Disk durable.Disk

	plain  bool
	later  bool // what is written waits for Commit
	files  []file
	staged int // of files: written beside their places
	batch  durable.Batch
}

// file is one that waits; without bytes it is to go.
type file struct {
	name  string
	bytes []byte
}

// Names in it.
const (
	RootFile      = "root.json"
	MarksFile     = "marks.json"
	TimestampFile = "timestamp.json"
	PolicySuffix  = ".policy"

	snapshotFile = "snapshot.json"
	targetsFile  = "targets.json"
)

// CopyOf names the second copy of a file.
func CopyOf(name string) string { return strings.TrimSuffix(name, ".json") + ".copy.json" }

// CopyOf names it in this directory.
func (d *Dir) CopyOf(name string) string {
	if d != nil && d.plain {
		return strings.TrimSuffix(name, ".json") + ".copy"
	}
	return CopyOf(name)
}

// MarksFile names the file of marks.
func (d *Dir) MarksFile() string {
	if d != nil && d.plain {
		return strings.TrimSuffix(MarksFile, ".json")
	}
	return MarksFile
}

// RoleFile names the file that holds a role's version.
func (d *Dir) RoleFile(role string, version int64) string {
	if d != nil && d.plain {
		return Quoted(role) + ".json"
	}
	return VersionedName(role, version)
}

// Open opens the directory at path, which is created if absent; empty: it remembers nothing.
func Open(path string, disk durable.Disk, plain bool) (*Dir, error) {
	if path == "" {
		return nil, nil
	}
	if err := disk.MkdirAll(path, 0o700); err != nil {
		return nil, fault.Hint(fmt.Errorf("trust state: %w", err), "run as the user that owns %s", path)
	}
	if err := durable.Sweep(path); err != nil {
		return nil, fmt.Errorf("trust state: %w", err)
	}
	return &Dir{Path: path, Disk: disk, plain: plain}, nil
}

// Read returns the file, nil if it is absent, unreadable or longer than limit.
func (d *Dir) Read(name string, limit int64) []byte {
	if d == nil {
		return nil
	}
	if b, waits := d.waiting(name); waits {
		if int64(len(b)) > limit {
			return nil
		}
		return b
	}
	f, err := os.Open(filepath.Join(d.Path, name))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil
	}
	return b
}

// Write replaces a file.
func (d *Dir) Write(name string, b []byte) error {
	if d == nil || bytes.Equal(d.Read(name, int64(len(b))), b) {
		return nil
	}
	if d.later {
		d.wait(file{name, b})
		return nil
	}
	return d.mend(d.Disk.WriteFile(filepath.Join(d.Path, name), b, 0o600))
}

func (d *Dir) mend(err error) error {
	if err == nil {
		return nil
	}
	return fault.Hint(fmt.Errorf("trust state: %w", err), "free space on the disk of %s, or run as its owner", d.Path)
}

// Later has all that is written or removed from now on wait for Commit, as a whole: a crash before it leaves what was
// verified before.
func (d *Dir) Later() {
	if d != nil {
		d.later, d.batch.Disk = true, d.Disk
	}
}

// Stage writes what waits beside its place. If its file system is synced then, Commit has less to do.
func (d *Dir) Stage() error {
	if d == nil {
		return nil
	}
	for ; d.staged < len(d.files); d.staged++ {
		f := d.files[d.staged]
		path := filepath.Join(d.Path, f.name)
		if f.bytes == nil {
			d.batch.Remove(path)
		} else if err := d.batch.Write(path, f.bytes, 0o600); err != nil {
			return d.mend(err)
		}
	}
	return nil
}

// Commit puts what waits in place. Synced says that the file system was synced since Stage.
func (d *Dir) Commit(synced bool) error {
	if d == nil || len(d.files) == 0 {
		return nil
	}
	synced = synced && d.staged == len(d.files)
	err := d.Stage()
	if err == nil {
		err = d.mend(d.batch.Commit(synced))
	}
	d.batch.Discard()
	d.files, d.staged = nil, 0
	return err
}

// wait has f wait as the last, in the place of what waits by its name and is not staged.
func (d *Dir) wait(f file) {
	staged, rest := d.files[:d.staged:d.staged], slices.Clone(d.files[d.staged:])
	rest = slices.DeleteFunc(rest, func(g file) bool { return g.name == f.name })
	d.files = append(append(staged, rest...), f)
}

// waiting is a file that waits to be written; nil if it waits to be removed.
func (d *Dir) waiting(name string) (b []byte, waits bool) {
	for _, f := range slices.Backward(d.files) {
		if f.name == name {
			return f.bytes, true
		}
	}
	return nil, false
}

// WriteTwice writes one copy after the other, so that at any instant one of them is whole.
func (d *Dir) WriteTwice(name string, b []byte) error {
	if err := d.Write(name, b); err != nil {
		return err
	}
	return d.Write(d.CopyOf(name), b)
}

// Remove removes a file, if it is there.
func (d *Dir) Remove(name string) error {
	if d == nil {
		return nil
	}
	if d.later {
		d.wait(file{name: name})
		return nil
	}
	if err := d.Disk.Remove(filepath.Join(d.Path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("trust state: %w", err)
	}
	return nil
}

// Names are those of all files.
func (d *Dir) Names() []string {
	if d == nil {
		return nil
	}
	es, err := os.ReadDir(d.Path)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range es {
		if _, waits := d.waiting(e.Name()); !waits {
			names = append(names, e.Name())
		}
	}
	for i, f := range d.files {
		last := !slices.ContainsFunc(d.files[i+1:], func(g file) bool { return g.name == f.name })
		if last && f.bytes != nil {
			names = append(names, f.name)
		}
	}
	return names
}

// Versioned matches the name of a role's version: its number and its role.
var Versioned = regexp.MustCompile(`^([1-9][0-9]{0,18})\.([a-z0-9-]+)\.json$`)

// VersionedName is the name of a role's version.
func VersionedName(role string, version int64) string {
	return fmt.Sprintf("%d.%s.json", version, Quoted(role))
}

// Quoted is a role's or target's name as one segment of a URL and one name in a directory.
func Quoted(name string) string { return strings.ReplaceAll(url.QueryEscape(name), "+", "%20") }

// Newest is the highest version of the role's file in the directory, 0 if there is none.
func (d *Dir) Newest(role string) (version int64) {
	for _, name := range d.Names() {
		if m := Versioned.FindStringSubmatch(name); m != nil && m[2] == role {
			if v, err := strconv.ParseInt(m[1], 10, 64); err == nil && v > version {
				version = v
			}
		}
	}
	return version
}

// Held returns the file of the role with the highest version in the directory.
func (d *Dir) Held(role string, limit int64) (version int64, b []byte) {
	if version = d.Newest(role); version == 0 {
		return 0, nil
	}
	return version, d.Read(VersionedName(role, version), limit)
}

// Sweep removes versioned files and policies that gone says are of no more use.
func (d *Dir) Sweep(gone func(name, role string) bool) error {
	for _, name := range d.Names() {
		role := ""
		if m := Versioned.FindStringSubmatch(name); m != nil {
			role = m[2]
		} else if !strings.HasSuffix(name, PolicySuffix) {
			continue
		}
		if gone(name, role) {
			if err := d.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Clear forgets everything: the host was given the anchor of another fleet.
func (d *Dir) Clear() error {
	names := []string{TimestampFile, RootFile, d.CopyOf(RootFile), d.MarksFile(), d.CopyOf(d.MarksFile())}
	if d != nil && d.plain {
		names = append(names, snapshotFile, targetsFile)
	}
	for _, name := range names {
		if err := d.Remove(name); err != nil {
			return err
		}
	}
	return d.Sweep(func(string, string) bool { return true })
}
