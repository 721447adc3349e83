package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"bakehouse/agent/install/listing"
	"bakehouse/schema/fault"
)

// dpkgFollows refuses a package that has a folder where the installed one has a symbolic link, or a link where there is
// a folder. dpkg keeps either and says nothing: it would write through the link to elsewhere, and the link would not be
// there. Links of others, as of /lib on merged /usr, are the host's.
func (s *System) dpkgFollows(p Package) error {
	b, err := os.ReadFile(s.Path(dpkgDir + "/info/" + p.Name + ".list"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ours := strings.Split(string(b), "\n")
	slices.Sort(ours)
	seen := map[string]bool{}
	for _, f := range p.Files {
		if err := s.keepsFolder(f); err != nil {
			return err
		}
		for dir := path.Dir(f.Path); dir != "/" && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			if _, is := slices.BinarySearch(ours, dir); !is {
				continue
			}
			if fi, err := os.Lstat(s.Path(dir)); err == nil && fi.Mode()&fs.ModeSymlink != 0 {
				return turned(dir, "a symbolic link of the package that is installed, and a folder in the next one")
			}
		}
	}
	return nil
}

func (s *System) keepsFolder(f listing.File) error {
	if f.Link == "" {
		return nil
	}
	if fi, err := os.Lstat(s.Path(f.Path)); err == nil && fi.IsDir() {
		return turned(f.Path, "a folder on this host, and a symbolic link in the package")
	}
	return nil
}

func turned(path, what string) error {
	return fault.Hint(fmt.Errorf("%s is %s, which dpkg does not follow; nothing was changed", path, what),
		"give one of them another name, or leave it out of one release first")
}
