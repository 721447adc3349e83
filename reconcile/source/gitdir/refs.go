package gitdir

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"bakehouse/schema/fault"
)

// maxSymbolic is how many refs that name refs git follows.
const maxSymbolic = 5

// Ref resolves a ref's full name ("HEAD", "refs/heads/main") to the object that it names, as 40 hex digits, and to the
// ref that it ended at. hash is empty if that does not exist.
func (r *Repo) Ref(name string) (hash, end string, err error) {
	for range maxSymbolic {
		text, err := r.readRef(name)
		if err != nil || text == "" {
			return "", name, err
		}
		next, symbolic := strings.CutPrefix(text, "ref:")
		if !symbolic {
			hash, _, _ := strings.Cut(text, "\t") // FETCH_HEAD has more in a line
			hash = strings.ToLower(strings.TrimSpace(hash))
			if !isHash(hash) {
				return "", name, fault.Hint(fmt.Errorf("the ref %s of %s is damaged", name, r.Common),
					"see `git fsck`, and fetch it again")
			}
			return hash, name, nil
		}
		if name = strings.TrimSpace(next); !safeRef(name) {
			return "", name, fmt.Errorf("a ref of %s names %.100q, which is not the name of a ref", r.Common, name)
		}
	}
	return "", name, fmt.Errorf("the ref %s of %s leads to no end", name, r.Common)
}

// readRef is the first line of a ref, empty if there is none.
func (r *Repo) readRef(name string) (string, error) {
	if !safeRef(name) {
		return "", nil
	}
	dir := r.Common
	if !strings.HasPrefix(name, "refs/") || strings.HasPrefix(name, "refs/bisect/") ||
		strings.HasPrefix(name, "refs/worktree/") || strings.HasPrefix(name, "refs/rewritten/") {
		dir = r.Dir // each work tree has its own
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err == nil {
		line, _, _ := strings.Cut(string(b), "\n")
		if strings.TrimSpace(line) == "" {
			line = "\x00" // a file that a crash left empty is not a ref that does not exist
		}
		return line, nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EISDIR) && !errors.Is(err, syscall.ENOTDIR) {
		return "", err
	}
	packed, err := r.packedRefs()
	return packed[name], err
}

func (r *Repo) packedRefs() (map[string]string, error) {
	f, err := os.Open(filepath.Join(r.Common, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	refs := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if hash, name, ok := strings.Cut(lines.Text(), " "); ok && isHash(hash) {
			refs[name] = hash
		}
	}
	return refs, lines.Err()
}

// Branches are the short names of the local branches, sorted.
func (r *Repo) Branches() (names []string) {
	const heads = "refs/heads/"
	packed, _ := r.packedRefs()
	for name := range packed {
		if short, ok := strings.CutPrefix(name, heads); ok {
			names = append(names, short)
		}
	}
	top := filepath.Join(r.Common, "refs", "heads")
	_ = filepath.WalkDir(top, func(at string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !strings.HasSuffix(at, ".lock") {
			if rel, err := filepath.Rel(top, at); err == nil {
				names = append(names, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// safeRef reports whether a name stays within the git directory's refs and the files beside HEAD.
func safeRef(name string) bool {
	if !strings.HasPrefix(name, "refs/") {
		return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") || strings.ContainsAny(part, "\\:\x00") {
			return false
		}
	}
	return true
}

func isHash(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}
