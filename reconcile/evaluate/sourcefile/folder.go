package sourcefile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"bakehouse/reconcile/evaluate/archive"
)

// Linker is a file system that says where a symbolic link leads. Nothing else is done with links.
type Linker interface {
	ReadLink(name string) (string, error)
}

// Node is what lies below a folder of the repo, or of an archive there.
type Node struct {
	Name   string      // below the folder
	Mode   fs.FileMode // fs.ModeDir, fs.ModeSymlink, or for a regular file 0o755 if somebody may execute it, else 0o644
	Link   string      // where a symbolic link leads, as it is written
	Member string      // of an archive, the member that has the file's bytes
}

// ErrMany says that a folder has more in it than is read.
var ErrMany = errors.New("has too many files in it")

// Folder lists what lies below a folder of the repo, at most so many nodes, in order of names, a folder before what is
// in it. It follows no link.
func (r *Repo) Folder(ctx context.Context, name string, most int) (nodes []Node, err error) {
	if err := folder(r.fsys, name); err != nil {
		return nil, err
	}
	var walk func(below string) error
	walk = func(below string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := fs.ReadDir(r.fsys, path.Join(name, below))
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(name, below), Plain(err))
		}
		for _, e := range list {
			n := Node{Name: path.Join(below, e.Name())}
			at := path.Join(name, n.Name)
			if len(nodes) == most {
				return ErrMany
			}
			switch {
			case e.IsDir():
				n.Mode = fs.ModeDir
				nodes = append(nodes, n)
				if err := walk(n.Name); err != nil {
					return err
				}
				continue
			case e.Type()&fs.ModeSymlink != 0:
				links, ok := r.fsys.(Linker)
				if !ok {
					return fmt.Errorf("%s is a symbolic link, which cannot be read here", at)
				}
				n.Mode = fs.ModeSymlink
				if n.Link, err = links.ReadLink(at); err != nil {
					return fmt.Errorf("%s: %w", at, Plain(err))
				}
			case e.Type()&fs.ModeIrregular != 0:
				return fmt.Errorf("%s is a submodule, which is not read: commit the files themselves", at)
			case !e.Type().IsRegular():
				return fmt.Errorf("%s is not a regular file", at)
			default:
				if n.Mode, err = executable(e); err != nil {
					return fmt.Errorf("%s: %w", at, Plain(err))
				}
			}
			nodes = append(nodes, n)
		}
		return nil
	}
	return nodes, walk("")
}

func executable(e fs.DirEntry) (fs.FileMode, error) {
	info, err := e.Info()
	if err != nil {
		return 0, err
	}
	if info.Mode()&0o111 != 0 {
		return 0o755, nil
	}
	return 0o644, nil
}

// folder checks that name is a folder of the repo, and nothing on the way to it a link.
func folder(fsys fs.FS, name string) error {
	up := ""
	for part := range strings.SplitSeq(name, "/") {
		up = path.Join(up, part)
		info, err := fs.Lstat(fsys, up)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("there is no folder %s in the repo", name)
		case err != nil:
			return fmt.Errorf("%s: %w", name, Plain(err))
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a symbolic link, which is not followed: commit the folder itself", up)
		case info.Mode()&fs.ModeIrregular != 0:
			return fmt.Errorf("%s is a submodule, which is not read: commit the files themselves", up)
		case !info.IsDir():
			return fmt.Errorf("%s is a file, not a folder", up)
		}
	}
	return nil
}

// Below lists a folder of an archive, "" being the whole archive. It fails with an *archive.MissingError if the archive
// has no such folder.
func (r *Repo) Below(ctx context.Context, name, dir string, most int) ([]Node, error) {
	t, err := r.list(ctx, name)
	if err != nil {
		return nil, err
	}
	found, err := t.Below(dir)
	if err != nil {
		return nil, err
	}
	if len(found) > most {
		return nil, ErrMany
	}
	nodes := make([]Node, len(found))
	for i, f := range found {
		nodes[i] = Node{Name: f.Name, Mode: f.Mode, Link: f.Link}
		if f.Member != nil {
			nodes[i].Member = f.Member.Name
		}
	}
	return nodes, nil
}

// Pieces says where the bytes of each member are that CopyAll wrote, one behind another.
type Pieces map[string]archive.Piece

// CopyAll writes all files of an archive in one go, of which single ones would take as many goes.
func (r *Repo) CopyAll(ctx context.Context, w io.Writer, name string) (Pieces, error) {
	t, err := r.list(ctx, name)
	if err != nil {
		return nil, err
	}
	from, size, done, err := r.openArchive(name)
	if err != nil {
		return nil, err
	}
	defer done()
	pieces, err := t.CopyAll(ctx, w, from, size)
	return pieces, err
}
