package versions

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// byHandName is the version that holds what was unpacked by hand, with `tar -xz` in the root, before the first update.
const byHandName = versionsDir + "/by-hand"

// unpackedByHand reports whether a package's files stand in the places of links: the updater's own settings are then a
// plain file. Only then are plain files taken over; otherwise they are somebody else's.
func (t *tree) unpackedByHand() bool {
	fi, err := t.host.Lstat(t.host.Path(schema.ConfigFile(runtime.GOOS)))
	return err == nil && fi.Mode().IsRegular()
}

// adopt makes a version of what was unpacked by hand and lets current lead to it; the links that follow then lead to
// the very files that they replace. Nothing that runs changes, and the undo of the later steps puts the files back.
func (v *switching) adopt(context.Context) (func() error, error) {
	t := v.tree
	if !t.byHand {
		return nil, nil
	}
	old, dir := t.current, filepath.Join(t.base, byHandName)
	running, err := t.filesOf(old)
	if err != nil {
		return nil, err
	}
	if old != byHandName { // else a crash cut an adoption short: what it has gathered counts
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	undo := func() error {
		if old == byHandName {
			return nil
		}
		t.current = old
		return errors.Join(t.lead(old), os.RemoveAll(dir))
	}
	for _, f := range union(running, v.files) {
		link, target, err := t.place(f)
		if err != nil {
			return undo, err
		}
		who, err := t.occupied(link, target)
		if err != nil {
			return undo, err
		}
		if who != byHand && (who != ours || old == byHandName) {
			continue
		}
		if who == ours {
			link = filepath.Join(t.base, currentLink, filepath.FromSlash(f))
		}
		if err := t.duplicate(link, filepath.Join(dir, f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return undo, err
		}
	}
	t.current = byHandName
	return undo, t.lead(byHandName)
}

// lead exchanges the link current; "" removes it.
func (t *tree) lead(version string) error {
	link := filepath.Join(t.base, currentLink)
	if version != "" {
		return durable.Symlink(version, link)
	}
	if err := durable.Remove(link); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// settingsLast orders files so that the sign of a package unpacked by hand goes last: after a crash among the links,
// the next run knows the rest for what they are.
func settingsLast(files []string) []string {
	settings := schema.ConfigFile(runtime.GOOS)
	i := slices.Index(files, settings[1:])
	if i < 0 {
		return files
	}
	return append(slices.Delete(slices.Clone(files), i, i+1), settings[1:])
}

// duplicate puts a file or link at the path to as well, replacing what is there: by a hard link, or by a copy where
// that is another file system.
func (t *tree) duplicate(from, to string) error {
	disk := t.host.Disk()
	if target, err := t.host.Readlink(from); err == nil {
		return errors.Join(disk.MkdirAll(filepath.Dir(to), 0o755), disk.Symlink(target, to))
	}
	f, err := t.host.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := t.host.Lstat(to); err == nil && os.SameFile(fi, there) {
		return nil // renaming one link of a file to another would do nothing, and leave both
	}
	if err := errors.Join(f.Sync(), disk.MkdirAll(filepath.Dir(to), 0o755)); err != nil {
		return err
	}
	temp := to + ".bakehouse"
	if err := disk.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := t.host.Link(from, temp); errors.Is(err, syscall.EXDEV) || errors.Is(err, errors.ErrUnsupported) {
		err = disk.Create(temp, f, fi.Mode())
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return disk.Rename(temp, to)
}

// ByHand reports whether what was unpacked by hand is kept, and not what runs.
func (s *Dir) ByHand() bool {
	t, err := s.openTree()
	if err != nil || t.current == byHandName {
		return false
	}
	fi, err := os.Stat(filepath.Join(t.base, byHandName))
	return err == nil && fi.IsDir()
}

// ReturnToByHand switches to what was unpacked by hand. It stays under the updater's care: links lead to it.
func (s *Dir) ReturnToByHand(ctx context.Context) error {
	t, err := s.openTree()
	if err != nil {
		return err
	}
	v := &switching{tree: t, version: byHandName, was: t.current}
	if v.files, err = t.filesOf(byHandName); err != nil {
		return err
	}
	v.units, err = os.ReadFile(filepath.Join(t.base, byHandName, unitsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err = v.run(ctx, s, []step{
		{"begin", v.begin},
		{"check", v.check},
		{"record", v.record},
		{"link", v.link},
		{"switch", v.exchange},
		{"unlink", v.unlink},
		{"forget", v.forget},
		{"units", v.sync},
	})
	return err
}
