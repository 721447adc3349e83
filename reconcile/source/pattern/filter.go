package pattern

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"bakehouse/schema/fault"
)

// AttributesFile says in each directory how git changes files between a work tree and what is committed.
const AttributesFile = ".gitattributes"

// Filters are the attributes of files. Only committed ones count, so that a commit means the same in every clone.
type Filters struct {
	Folder string     // of the fleet, in the repository; "." for all of it
	Above  Attributes // of the directories above it
	dirs   map[string]Attributes
}

// Check refuses a file of which git commits other bytes than its author sees. read reads a file of the fleet.
func (f *Filters) Check(name string, read func(string) ([]byte, error)) error {
	rules, err := f.of(path.Dir(name), read)
	if err != nil || len(rules) == 0 {
		return err
	}
	get := func(attr string) string { return rules.Get(path.Join(f.Folder, name), attr) }
	const hint = "a package is made of what is committed: exempt this file in .gitattributes (-%s), and commit it as is"
	// Of a file under Git LFS a pointer is committed, which its reader knows, or the file itself.
	if by := get("filter"); by != "" && by != "false" && by != "true" && by != "lfs" {
		return fault.Hint(fmt.Errorf("is stored through the filter %.60s (.gitattributes): what is committed is not "+
			"the file that its author sees, but for example its encrypted form", by), hint, "filter")
	}
	if by := get("working-tree-encoding"); by != "" && by != "false" && by != "true" {
		return fault.Hint(fmt.Errorf("is stored in another encoding than its author sees "+
			"(working-tree-encoding=%.60s in .gitattributes)", by), hint, "working-tree-encoding")
	}
	return nil
}

// In are those of a folder alone, in which a file was checked.
func (f *Filters) In(folder string) Filters {
	return Filters{Folder: folder, Above: f.dirs[path.Dir(folder)]}
}

// of are the attributes that count in a directory.
func (f *Filters) of(dir string, read func(string) ([]byte, error)) (Attributes, error) {
	if rules, ok := f.dirs[dir]; ok {
		return rules, nil
	}
	rules := f.Above
	if dir != "." {
		var err error
		if rules, err = f.of(path.Dir(dir), read); err != nil {
			return nil, err
		}
	}
	data, err := read(path.Join(dir, AttributesFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path.Join(dir, AttributesFile), err)
	}
	in := path.Join(f.Folder, dir)
	if in == "." {
		in = ""
	}
	rules = append(rules[:len(rules):len(rules)], ParseAttributes(data, in, false)...)
	if f.dirs == nil {
		f.dirs = map[string]Attributes{}
	}
	f.dirs[dir] = rules
	return rules, nil
}

// Encrypted refuses what git-crypt stores of a file.
func Encrypted(data []byte) error {
	if bytes.HasPrefix(data, []byte("\x00GITCRYPT\x00")) {
		return fault.Hint(errors.New("is encrypted by git-crypt: its encrypted form is committed, not the file that "+
			"its author sees"), "a package is made of what is committed: keep this file out of git-crypt")
	}
	return nil
}
