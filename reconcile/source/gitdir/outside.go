package gitdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bakehouse/schema/fault"
)

// Outside refuses a file that the repository could supply: one that lies in its work tree, in another work tree of the
// same repository or in its git directory, itself or by any symbolic link on the way to it.
func (r *Repo) Outside(name string) error { return r.outside(name, name) }

// outside is Outside for the file called name, of which the user knows as shown.
func (r *Repo) outside(name, shown string) error {
	ours := r.places()
	way, err := wayTo(name)
	if err != nil {
		return err
	}
	for _, at := range way {
		for dir := at; ; dir = filepath.Dir(dir) {
			for _, place := range ours {
				if same(dir, place) {
					return fault.Refuse(fmt.Errorf("%s lies in the fleet repository (%s), which would vouch for itself",
						shown, place),
						"keep it where no commit can change it, outside the repository")
				}
			}
			if dir == filepath.Dir(dir) {
				break
			}
			if common, ok := commonDirOf(dir); ok && same(common, ours[0]) {
				return fault.Refuse(fmt.Errorf("%s lies in %s, a work tree of the fleet repository, which would vouch "+
					"for itself", shown, dir),
					"keep it where no commit can change it, outside the repository")
			}
		}
	}
	return nil
}

// Outside refuses a file or directory, which need not exist yet, that the repository around dir could supply. Where
// there is none, no commit can change anything.
func Outside(dir, name string) error {
	real, err := filepath.EvalSymlinks(dir) // the repository of a linked directory is the one that it leads to, too
	if err != nil {
		return err
	}
	there := name
	for !exists(there) && there != filepath.Dir(there) {
		there = filepath.Dir(there)
	}
	for _, dir := range []string{dir, real} {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		top, gitDir, err := Locate(abs)
		if errors.Is(err, ErrNone) {
			continue
		}
		var common string
		if err == nil {
			common, err = CommonDir(gitDir)
		}
		if err == nil {
			err = (&Repo{Top: top, Dir: gitDir, Common: common}).outside(there, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// places are the git directory that all work trees share, this work tree's own and the work tree.
func (r *Repo) places() []string {
	all := []string{r.Common, r.Dir}
	if r.Top != "" {
		all = append(all, r.Top)
	}
	return all
}

// commonDirOf returns the common git directory if dir is the top of a work tree.
func commonDirOf(dir string) (string, bool) {
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err != nil {
		return "", false
	}
	top, gitDir, err := Locate(dir)
	if err != nil || top != dir {
		return "", false
	}
	common, err := CommonDir(gitDir)
	return common, err == nil
}

// same reports whether two names are one directory, under whatever name and case.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// wayTo lists where the file called name is, and where each symbolic link on the way to it is. Nothing is cleaned
// before it is looked at: the parent of a linked directory is not the link's.
func wayTo(name string) ([]string, error) {
	const sep = string(filepath.Separator)
	rest := filepath.FromSlash(name)
	if !filepath.IsAbs(rest) {
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		rest = dir + sep + rest
	}
	var way []string
	var at, step string
	for at, rest = rooted(rest); rest != ""; {
		step, rest, _ = strings.Cut(rest, sep)
		next := filepath.Join(at, step)
		st, err := os.Lstat(next)
		if err != nil {
			return nil, err
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if way = append(way, next); len(way) > 40 {
			return nil, fmt.Errorf("%s: too many symbolic links", name)
		}
		to, err := os.Readlink(next)
		if err != nil {
			return nil, err
		}
		if to = filepath.FromSlash(to); filepath.IsAbs(to) {
			at, to = rooted(to)
		}
		rest = to + sep + rest
	}
	return append(way, at), nil
}

// rooted splits an absolute name after the root.
func rooted(name string) (root, rest string) {
	volume := filepath.VolumeName(name)
	return volume + string(filepath.Separator), strings.TrimLeft(name[len(volume):], string(filepath.Separator))
}
