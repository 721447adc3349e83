package source

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// resolve finds the commit that a ref stands for: a full hash, HEAD, a ref by its full name, else a branch, a tag or a
// branch of a remote, else a hash's first digits; each may be followed by ~N and ^N. A name that stands for two
// commits is refused: who may push a tag is often not restricted as who may push to a branch is.
func (r *Repo) resolve(ref string) (plumbing.Hash, error) {
	name, steps := ref, ""
	if i := strings.IndexAny(ref, "~^"); i >= 0 {
		name, steps = ref[:i], ref[i:]
	}
	hash, err := r.named(name)
	if err == nil {
		hash, err = r.peel(hash, name)
	}
	if err == nil && steps != "" {
		hash, err = r.step(hash, ref, steps)
	}
	return hash, err
}

// named is the object that a name stands for.
func (r *Repo) named(name string) (plumbing.Hash, error) {
	if plumbing.IsHash(name) {
		return plumbing.NewHash(name), nil
	}
	if name == "@" {
		name = "HEAD"
	}
	if name == "HEAD" || strings.HasPrefix(name, "refs/") || name == "FETCH_HEAD" || name == "MERGE_HEAD" ||
		name == "ORIG_HEAD" {
		hash, end, err := r.git.Ref(name)
		switch {
		case err != nil:
			return plumbing.ZeroHash, err
		case hash != "":
			return plumbing.NewHash(hash), nil
		case name == "HEAD":
			return plumbing.ZeroHash, r.unborn(end)
		}
		return plumbing.ZeroHash, unknownRef(name)
	}
	type found struct {
		ref  string
		hash plumbing.Hash
	}
	var all []found
	for _, in := range []string{"refs/heads/", "refs/tags/", "refs/remotes/"} {
		hash, _, err := r.git.Ref(in + name)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if hash != "" {
			all = append(all, found{in + name, plumbing.NewHash(hash)})
		}
	}
	if len(all) == 0 {
		if hash, _, err := r.git.Ref("refs/remotes/" + name + "/HEAD"); err != nil || hash != "" {
			return plumbing.NewHash(hash), err
		}
		return r.abbreviated(name)
	}
	for _, other := range all[1:] {
		first, err := r.peel(all[0].hash, all[0].ref)
		if err != nil {
			return first, err
		}
		if second, err := r.peel(other.hash, other.ref); err != nil || first != second {
			return first, fault.Hint(
				fmt.Errorf("%q is ambiguous: %s and %s are different commits", name, all[0].ref, other.ref),
				"give one of them in full: %s or %s", all[0].ref, other.ref)
		}
	}
	return all[0].hash, nil
}

// unborn is the error for a HEAD that names a branch without a commit.
func (r *Repo) unborn(branch string) error {
	branches := r.git.Branches()
	if len(branches) == 0 {
		return fault.Hint(errors.New("the repository has no commit yet"), "commit the fleet: git add -A && git commit")
	}
	const most = 5
	more := ""
	if len(branches) > most {
		branches, more = branches[:most], ", …"
	}
	return fault.Hint(fmt.Errorf("HEAD names %s, which does not exist", branch),
		"name a branch with --ref: %s%s", strings.Join(branches, ", "), more)
}

func unknownRef(name string) error {
	return fault.Hint(fmt.Errorf("ref %q: there is no such branch, tag or commit in this clone", name),
		"list the refs with `git show-ref`, fetch it (git fetch), or leave --ref out for HEAD")
}

// abbreviated is the commit whose name begins with the digits.
func (r *Repo) abbreviated(digits string) (plumbing.Hash, error) {
	const least = 4 // as git
	if len(digits) < least || len(digits) > 40 || strings.Trim(digits, "0123456789abcdef") != "" {
		return plumbing.ZeroHash, unknownRef(digits)
	}
	found, err := r.git.Objects.WithPrefix(digits)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	var commits []plumbing.Hash
	for _, hash := range found {
		if commit, err := r.peel(hash, digits); err == nil {
			commits = append(commits, commit)
		}
	}
	switch len(commits) {
	case 0:
		return plumbing.ZeroHash, unknownRef(digits)
	case 1:
		return commits[0], nil
	}
	return plumbing.ZeroHash, fault.Hint(fmt.Errorf("%q is ambiguous: %d commits begin with it", digits, len(commits)),
		"give more digits of the hash")
}

// peel follows tags to the commit that they name.
func (r *Repo) peel(hash plumbing.Hash, by string) (plumbing.Hash, error) {
	for {
		o, _, err := readObject(r.git.Objects, plumbing.AnyObject, hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return hash, r.absent("commit", hash, by)
		}
		if err != nil {
			return hash, fmt.Errorf("ref %q: %w", by, err)
		}
		switch o.Type() {
		case plumbing.CommitObject:
			return hash, nil
		case plumbing.TagObject:
			tag := &object.Tag{}
			if err := tag.Decode(o); err != nil {
				return hash, fmt.Errorf("ref %q: tag %s: %w", by, hash, err)
			}
			hash = tag.Target
		default:
			return hash, fault.Hint(fmt.Errorf("ref %q names a %s, not a commit", by, o.Type()),
				"give a branch, tag or commit")
		}
	}
}

// step follows ~N and ^N, any number of them; ^{} and ^{commit} change nothing.
func (r *Repo) step(hash plumbing.Hash, ref, steps string) (plumbing.Hash, error) {
	for steps != "" {
		kind := steps[0]
		steps = steps[1:]
		if kind == '^' && (strings.HasPrefix(steps, "{}") || strings.HasPrefix(steps, "{commit}")) {
			_, steps, _ = strings.Cut(steps, "}")
			continue
		}
		digits := steps[:len(steps)-len(strings.TrimLeft(steps, "0123456789"))]
		steps = steps[len(digits):]
		n := 1
		if digits != "" {
			var err error
			if n, err = strconv.Atoi(digits); err != nil {
				return hash, fmt.Errorf("ref %q: %w", ref, err)
			}
		}
		if steps != "" && steps[0] != '~' && steps[0] != '^' {
			return hash, fault.Hint(fmt.Errorf("ref %q: %q is not supported", ref, steps),
				"after a branch, tag or commit come ~N and ^N only: `git rev-parse` gives the commit of anything else")
		}
		times, parent := 1, n
		if kind == '~' {
			times, parent = n, 1
		}
		for ; times > 0 && parent > 0; times-- {
			c, err := r.load(hash)
			if errors.Is(err, plumbing.ErrObjectNotFound) {
				return hash, r.absent("commit", hash, ref)
			}
			if err != nil {
				return hash, err
			}
			if len(c.ParentHashes) < parent {
				return hash, fault.Hint(fmt.Errorf("ref %q: commit %.12s has no such parent", ref, hash),
					"see `git log`; a shallow clone may lack it: git fetch --unshallow")
			}
			hash = c.ParentHashes[parent-1]
		}
	}
	return hash, nil
}
