package trust

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
	"strconv"
	"strings"

	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// dir is the state directory, readable by its owner only. A nil *dir remembers nothing.
//
//	root.json  root.copy.json      the newest verified root, twice
//	marks.json marks.copy.json     marks, twice; the one with the higher serial counts
//	N.ROLE.json HEX.policy         what the timestamp names; old versions go once a new timestamp stands
//	timestamp.json                 written last: it commits the others
//
// A plain directory is laid out as other TUF clients do: one ROLE.json for each role, the name quoted as in a URL, each
// written as soon as it is verified. All that ends in ".json" there is metadata, so what only this package knows is named
// root.copy, marks and marks.copy.
//
// Nothing in here is believed for being here: metadata are verified again as if they came from a server, and marks
// carry a checksum. So a file that is damaged counts as absent. One of two copies restores the other, marks are also
// read off the metadata, and metadata are fetched again. Only if root or marks lose both copies at once does the host
// fall back on what the others still say.
type dir struct {
	path  string
	disk  durable.Disk
	plain bool
}

const (
	rootFile  = "root.json"
	marksFile = "marks.json"
)

func copyOf(name string) string { return strings.TrimSuffix(name, ".json") + ".copy.json" }

func (d *dir) copyOf(name string) string {
	if d != nil && d.plain {
		return strings.TrimSuffix(name, ".json") + ".copy"
	}
	return copyOf(name)
}

func (d *dir) marksFile() string {
	if d != nil && d.plain {
		return strings.TrimSuffix(marksFile, ".json")
	}
	return marksFile
}

// roleFile names the file that holds a role's version.
func (d *dir) roleFile(role string, version int64) string {
	if d != nil && d.plain {
		return quoted(role) + ".json"
	}
	return versionedName(role, version)
}

func openDir(path string, disk durable.Disk, plain bool) (*dir, error) {
	if path == "" {
		return nil, nil
	}
	if err := disk.MkdirAll(path, 0o700); err != nil {
		return nil, fault.Hint(fmt.Errorf("trust state: %w", err), "run as the user that owns %s", path)
	}
	if err := durable.Sweep(path); err != nil {
		return nil, fmt.Errorf("trust state: %w", err)
	}
	return &dir{path, disk, plain}, nil
}

// read returns the file, nil if it is absent, unreadable or longer than limit.
func (d *dir) read(name string, limit int64) []byte {
	if d == nil {
		return nil
	}
	f, err := os.Open(filepath.Join(d.path, name))
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

func (d *dir) write(name string, b []byte) error {
	if d == nil || bytes.Equal(d.read(name, int64(len(b))), b) {
		return nil
	}
	if err := d.disk.WriteFile(filepath.Join(d.path, name), b, 0o600); err != nil {
		return fault.Hint(fmt.Errorf("trust state: %w", err), "free space on the disk of %s, or run as its owner", d.path)
	}
	return nil
}

// writeTwice writes one copy after the other, so that at any instant one of them is whole.
func (d *dir) writeTwice(name string, b []byte) error {
	if err := d.write(name, b); err != nil {
		return err
	}
	return d.write(d.copyOf(name), b)
}

func (d *dir) remove(name string) error {
	if d == nil {
		return nil
	}
	if err := d.disk.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("trust state: %w", err)
	}
	return nil
}

func (d *dir) names() []string {
	if d == nil {
		return nil
	}
	es, err := os.ReadDir(d.path)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

var versioned = regexp.MustCompile(`^([1-9][0-9]{0,18})\.([a-z0-9-]+)\.json$`)

func versionedName(role string, version int64) string {
	return fmt.Sprintf("%d.%s.json", version, quoted(role))
}

// quoted is a role's or target's name as one segment of a URL and one name in a directory.
func quoted(name string) string { return strings.ReplaceAll(url.QueryEscape(name), "+", "%20") }

// newest is the highest version of the role's file in the directory, 0 if there is none.
func (d *dir) newest(role string) (version int64) {
	for _, name := range d.names() {
		if m := versioned.FindStringSubmatch(name); m != nil && m[2] == role {
			if v, err := strconv.ParseInt(m[1], 10, 64); err == nil && v > version {
				version = v
			}
		}
	}
	return version
}

// held returns the file of the role with the highest version in the directory.
func (d *dir) held(role string, limit int64) (version int64, b []byte) {
	if version = d.newest(role); version == 0 {
		return 0, nil
	}
	return version, d.read(versionedName(role, version), limit)
}

// sweep removes versioned files and policies that gone says are of no more use.
func (d *dir) sweep(gone func(name, role string) bool) error {
	for _, name := range d.names() {
		role := ""
		if m := versioned.FindStringSubmatch(name); m != nil {
			role = m[2]
		} else if !strings.HasSuffix(name, policySuffix) {
			continue
		}
		if gone(name, role) {
			if err := d.remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// clear forgets everything: the host was given the anchor of another fleet.
func (d *dir) clear() error {
	names := []string{timestampFile, rootFile, d.copyOf(rootFile), d.marksFile(), d.copyOf(d.marksFile())}
	if d != nil && d.plain {
		names = append(names, snapshotFile, targetsFile)
	}
	for _, name := range names {
		if err := d.remove(name); err != nil {
			return err
		}
	}
	return d.sweep(func(string, string) bool { return true })
}

// readMarks returns the newer of the valid copies, and never nil. One that contradicts the anchor counts only if both do:
// then the host was moved, else the file was.
func (d *dir) readMarks(anchor *rootCopy) *marks {
	best, foreign := &marks{}, false
	for _, name := range []string{d.marksFile(), d.copyOf(d.marksFile())} {
		m, err := decodeMarks(d.read(name, maxMarks))
		if err != nil {
			best.dirty = true
			continue
		}
		var seen *rootSeen
		if anchor != nil {
			seen = m.root(anchor.version())
		}
		other := seen != nil && seen.Signed != anchor.signed
		switch {
		case best.Serial == 0, foreign && !other, foreign == other && m.Serial > best.Serial:
			m.dirty = best.dirty || best.Serial > 0
			best, foreign = m, other
		case foreign != other, m.Serial < best.Serial:
			best.dirty = true
		}
	}
	return best
}

// maxMarks is above what 16,384 bins need.
const maxMarks = 2 << 20

func (d *dir) writeMarks(m *marks) error {
	if d == nil || !m.dirty {
		return nil
	}
	m.Serial++
	b, err := m.encode()
	if err != nil {
		return err
	}
	if err := d.writeTwice(d.marksFile(), b); err != nil {
		return err
	}
	m.dirty = false
	return nil
}
