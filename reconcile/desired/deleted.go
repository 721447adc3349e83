package desired

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bakehouse/schema/fleet"
)

// trusted are the files at the top that decide what is trusted or installed, besides fleet.cue.
var trusted = []string{"access.cue", "programs.cue", "rollout.cue"}

// deleted warns of files that the parent commit has, that this one has not, and that decide what is trusted: keys, the
// chain of roots, host programs, access and the rollout.
func (s *State) deleted() (ps fleet.Problems) {
	if s.Revision == nil {
		return nil
	}
	parent, err := s.Repo.Parent(s.Revision)
	if err != nil || parent == nil {
		return nil // a clone that lacks the parent cannot tell
	}
	for _, dir := range []string{".", "keys", "trust"} {
		was, err := fs.ReadDir(parent.FS, dir)
		if err != nil {
			continue
		}
		is, _ := fs.ReadDir(s.Files, dir)
		for _, e := range was {
			name := path.Join(dir, e.Name())
			if e.IsDir() || dir == "." && !slices.Contains(trusted, name) ||
				!strings.HasSuffix(name, ".cue") && !strings.HasSuffix(name, ".json") ||
				slices.ContainsFunc(is, func(now fs.DirEntry) bool { return now.Name() == e.Name() }) {
				continue
			}
			ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: name},
				Msg: fmt.Sprintf("deleted in this commit: its parent %.12s has it", parent.Commit),
				Hint: fmt.Sprintf("unless that is meant, restore it: git checkout %.12s -- %s", parent.Commit,
					s.Revision.Path(name))})
		}
	}
	return ps
}
