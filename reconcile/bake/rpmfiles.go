package bake

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"bakehouse/reconcile/bake/rpmheader"
)

// rpmFile is a file or directory as an rpm's header has it.
type rpmFile struct {
	dir, base string // dir ends in a slash
	mode      uint16
	size      int64
	digest    string // SHA-256 in hex; empty for what has no bytes
	link      string
	caps      string // as cap_to_text(3) has it
	owner     string
	group     string
}

// rpmFiles lists what a package owns in the order of whole paths' bytes: rpm finds what the payload holds by a binary search.
func rpmFiles(shared [][]*file, own []*file, sums []fileSum) []rpmFile {
	read := make(map[string]fileSum, len(sums))
	for _, s := range sums {
		read[s.path] = s
	}
	var list []rpmFile
	for _, files := range append(slices.Clone(shared), own) {
		for _, f := range files {
			dir, base := path.Split(f.path)
			r := rpmFile{dir: dir, base: base, mode: modeDir | uint16(f.mode.Perm()), size: 4096,
				owner: cmp.Or(f.owner, "root"), group: cmp.Or(f.group, "root")}
			switch {
			case f.isLink():
				r.mode, r.size, r.link = modeLink|uint16(f.mode.Perm()), int64(len(f.link)), f.link
			case f.mode.IsRegular():
				s := read[f.path]
				r.mode, r.size, r.digest = modeRegular|uint16(f.mode.Perm()), s.size, s.sha.Hex()
				if len(f.caps) > 0 {
					r.caps = strings.Join(f.caps, ",") + "=ep"
				}
			}
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b rpmFile) int { return cmp.Compare(a.dir+a.base, b.dir+b.base) })
	return list
}

// kind is the flags of what rpm treats specially: documentation, which a host may do without, and licenses. Nothing is
// config: what is baked belongs to the repo.
func (f rpmFile) kind() uint32 {
	switch {
	case f.mode&modeRegular == 0:
	case strings.HasPrefix(f.dir, "/usr/share/licenses/"):
		return 1 << 7
	case strings.HasPrefix(f.dir, "/usr/share/doc/"), strings.HasPrefix(f.dir, "/usr/share/man/"), strings.HasPrefix(f.dir, "/usr/share/info/"):
		return 1 << 1
	}
	return 0
}

// addFiles adds the tags that have a value for every file: to own those that depend on what the files hold.
func addFiles(h *rpmheader.Header, files []rpmFile, own *rpmheader.Header) {
	n := len(files)
	var sizes, flags, times, indexes, inodes, verify []uint32
	var modes []uint16
	var digests, caps, links, owners, groups, bases, dirs []string
	seen := map[string]uint32{}
	total := int64(0)
	for i, f := range files {
		sizes = append(sizes, uint32(f.size))
		modes = append(modes, f.mode)
		flags = append(flags, f.kind())
		times = append(times, uint32(epoch.Unix()))
		digests = append(digests, f.digest)
		links = append(links, f.link)
		caps = append(caps, f.caps)
		owners = append(owners, f.owner)
		groups = append(groups, f.group)
		inodes = append(inodes, uint32(i+1)) // equal numbers would be links to one file
		verify = append(verify, 1<<32-1)     // everything
		bases = append(bases, f.base)
		if _, ok := seen[f.dir]; !ok {
			seen[f.dir] = uint32(len(dirs))
			dirs = append(dirs, f.dir)
		}
		indexes = append(indexes, seen[f.dir])
		total += f.size
	}
	repeat := func(s string) []string { return slices.Repeat([]string{s}, n) }
	own.Texts(rpmheader.TagFileDigests, digests...)
	own.Int32s(rpmheader.TagSize, uint32(min(total, 1<<32-1))) // only informs
	own.Int32s(rpmheader.TagFileSizes, sizes...)
	h.Int16s(rpmheader.TagFileModes, modes...)
	h.Int16s(rpmheader.TagFileRdevs, make([]uint16, n)...)
	h.Int32s(rpmheader.TagFileMtimes, times...)
	h.Texts(rpmheader.TagFileLinktos, links...)
	h.Int32s(rpmheader.TagFileFlags, flags...)
	h.Texts(rpmheader.TagFileUserName, owners...)
	h.Texts(rpmheader.TagFileGroupName, groups...)
	h.Int32s(rpmheader.TagFileVerifyFlags, verify...)
	h.Int32s(rpmheader.TagFileDevices, slices.Repeat([]uint32{1}, n)...)
	h.Int32s(rpmheader.TagFileInodes, inodes...)
	h.Texts(rpmheader.TagFileLangs, repeat("")...)
	h.Int32s(rpmheader.TagDirIndexes, indexes...)
	h.Texts(rpmheader.TagBaseNames, bases...)
	h.Texts(rpmheader.TagDirNames, dirs...)
	h.Int32s(rpmheader.TagFileDigestAlgo, rpmSHA256)
	if slices.ContainsFunc(caps, func(c string) bool { return c != "" }) {
		h.Texts(rpmheader.TagFileCaps, caps...)
	}
}
