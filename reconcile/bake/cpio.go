package bake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// cpioArchive is the payload of an rpm, and what a pkg is made of: cpio in the form that cpio(5) calls "new ASCII". rpm takes owner, mode and time of a
// file from its header, not from here, and finds it there by its name, so the order of entries is free.
var cpioArchive = cpioArchiver("cpio", ".")

// cpioArchiver puts every name below a folder, or below none.
func cpioArchiver(name, dir string) *archiver {
	write := func(ctx context.Context, w io.Writer, files []*file) ([]fileSum, error) {
		return cpioFiles(ctx, w, dir, files)
	}
	return &archiver{name, write, []byte(cpioHeader("TRAILER!!!", 0, 0))}
}

// maxCpio is what eight hex digits can say.
const maxCpio = 1<<32 - 1

// Types of files in a mode, as stat(2) has them.
const (
	modeDir     = 0o040000
	modeRegular = 0o100000
	modeLink    = 0o120000
)

// cpioHeader is everything of an entry before its content. All entries have the inode number 0 and one link: numbers would
// depend on what else is in the package, and are only looked at where there are several links.
func cpioHeader(name string, mode uint32, size int64) string {
	mtime := int64(0)
	if mode != 0 {
		mtime = epoch.Unix()
	}
	h := "070701"
	for _, v := range []int64{0, int64(mode), 0, 0, 1, mtime, size, 0, 0, 0, 0, int64(len(name) + 1), 0} {
		h += fmt.Sprintf("%08x", v)
	}
	h += name + "\x00"
	return h + cpioPadding(int64(len(h)))
}

// cpioPadding brings a header or a content of that size to a multiple of four.
func cpioPadding(size int64) string { return "\x00\x00\x00"[:-size&3] }

// cpioFiles writes the entries of files to w, without the trailer, and checks every file on the way as tarFiles does.
func cpioFiles(ctx context.Context, w io.Writer, dir string, files []*file) ([]fileSum, error) {
	sums := make([]fileSum, 0, len(files))
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(dir+f.path, "/")
		if f.mode.IsDir() {
			if _, err := io.WriteString(w, cpioHeader(name, modeDir|uint32(f.mode.Perm()), 0)); err != nil {
				return nil, err
			}
			continue
		}
		if f.isLink() {
			size := int64(len(f.link))
			head := cpioHeader(name, modeLink|uint32(f.mode.Perm()), size)
			if _, err := io.WriteString(w, head+f.link+cpioPadding(size)); err != nil {
				return nil, err
			}
			continue
		}
		s, err := cpioFile(w, name, f)
		if err != nil {
			return nil, fmt.Errorf("plugin %s: file %s: %w", f.plugin, f.path, err)
		}
		sums = append(sums, s)
	}
	return sums, nil
}

func cpioFile(w io.Writer, name string, f *file) (fileSum, error) {
	size, err := f.measure()
	if err != nil {
		return fileSum{}, err
	}
	if size > maxCpio {
		return fileSum{}, errors.New("is too large for an rpm or pkg, which hold files of less than 4 GiB")
	}
	if _, err := io.WriteString(w, cpioHeader(name, modeRegular|uint32(f.mode.Perm()), size)); err != nil {
		return fileSum{}, err
	}
	s, err := copyFile(w, f, size)
	if err == nil {
		_, err = io.WriteString(w, cpioPadding(size))
	}
	return s, err
}
