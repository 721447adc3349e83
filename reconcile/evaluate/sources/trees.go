package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/output"
	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// maxTree bounds what is in a tree: host programs unpack 65,536 entries of a tgz and no more.
const maxTree = 50000

// Tree is all files of a tree in the place of the one that stands for them. Paths that are taken have a file of their
// own.
func (s *Sources) Tree(ctx context.Context, plugin string, top fleet.File, p output.Pending, taken map[string]bool) (
	files []fleet.File, err error) {
	nodes, err := s.nodes(ctx, top, p.Archive)
	if errors.Is(err, sourcefile.ErrMany) {
		return nil, fault.Hint(fmt.Errorf("it has more than %d files", maxTree),
			"ship them as one file, such as an archive that a script unpacks")
	}
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, errors.New("there is nothing in it")
	}
	full := map[string]bool{} // folders with something in them
	for _, n := range nodes {
		full[path.Dir(n.Name)] = true
	}
	if p.Folders {
		nodes = append(nodes, sourcefile.Node{Name: ".", Mode: fs.ModeDir})
	}
	for _, n := range nodes {
		f := fleet.File{Path: path.Join(top.Path, n.Name), Pos: top.Pos, Owner: top.Owner, Group: top.Group}
		switch {
		case taken[f.Path]:
			continue
		case n.Mode.IsDir():
			if !p.Folders && full[n.Name] || fleet.StandardDir(f.Path) {
				continue
			}
			dir := fleet.Directory(f.Path, searchable(top.Mode))
			dir.Owner, dir.Group, dir.Pos = f.Owner, f.Group, f.Pos
			f = dir
		case n.Mode&fs.ModeSymlink != 0:
			if err := inTree(top.Path, n); err != nil {
				return nil, err
			}
			f = fleet.SymbolicLink(f.Path, n.Link)
			f.Pos, f.Repo = top.Pos, path.Join(top.Repo, n.Name)
		default:
			if f.Mode = top.Mode; n.Mode&0o111 != 0 {
				f.Mode = searchable(top.Mode)
			}
			f.Repo = path.Join(top.Repo, n.Name)
			if n.Member != "" {
				f.Repo, f.Member, f.Tree = top.Repo, n.Member, true
			}
			is := s.known(ctx, sourceName{f.Repo, f.Member})
			if is.err != nil {
				return nil, fmt.Errorf("%s: %w", n.Name, is.err)
			}
			f.SHA256, f.Size = is.sum, is.size
		}
		if err := output.CheckPath(f.Path, plugin, p.OS); err != nil {
			return nil, fmt.Errorf("%q: %w", n.Name, err)
		}
		files = append(files, f)
	}
	return files, nil
}

// nodes lists a tree, once.
func (s *Sources) nodes(ctx context.Context, top fleet.File, archive bool) (nodes []sourcefile.Node, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := sourceName{top.Repo, top.Member}
	if kept, ok := s.trees[name]; ok {
		return slices.Clone(kept), nil
	}
	if archive {
		nodes, err = s.repo.Below(ctx, top.Repo, top.Member, maxTree)
	} else {
		nodes, err = s.repo.Folder(ctx, top.Repo, maxTree)
	}
	if err == nil {
		s.trees[name] = nodes
	}
	return slices.Clone(nodes), err
}

// known is a file of a tree. It asks no cache: thousands of entries are read no sooner than thousands of files.
func (s *Sources) known(ctx context.Context, name sourceName) sourceFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	is, ok := s.seen[name]
	if !ok {
		if is = s.read(ctx, name); is.err == nil {
			s.seen[name] = is
		}
	}
	return is
}

// searchable lets whoever may read also execute, which of a directory is to look into it.
func searchable(mode fs.FileMode) fs.FileMode { return mode.Perm() | mode.Perm()&0o444>>2 }

// inTree refuses a link that leads out of its tree, which lies at top on the host.
func inTree(top string, n sourcefile.Node) error {
	at := path.Join(top, n.Name)
	to := n.Link
	if !path.IsAbs(to) {
		to = path.Join(path.Dir(at), to)
	}
	if to = path.Clean(to); n.Link == "" || to != top && !strings.HasPrefix(to, strings.TrimSuffix(top, "/")+"/") {
		return fault.Hint(fmt.Errorf("%s is a symbolic link to %.200q, which is outside of the tree", n.Name, n.Link),
			"leave it out of the tree, and say it as a link of its own: files: %q: link: %q", at, n.Link)
	}
	return nil
}
