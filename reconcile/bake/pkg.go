package bake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// pkgArch names Solaris' architectures by Go's.
var pkgArch = map[string]string{"amd64": "i386"} // one name for 32 and 64 bits

// pkgBlock is what a datastream is counted in and padded to, in bytes.
const pkgBlock = 512

// pkgList is a package's file with the paths of its files, a line each: when the next version is put over this one, pkgadd
// leaves behind what only this one has, and its postinstall takes that away.
const pkgList = "/usr/lib/bakehouse/files"

// pkg makes a System V package as a datastream: a header, an archive with what pkgadd looks at first, and an archive with
// that once more, the scripts and all files. Neither is compressed, so what packages share stands in them as it is.
//
// Facts from the manual pages pkginfo(4) and pkgmap(4), and from how illumos' pkgadd and pkgtrans read and write: it has met
// none of them yet.
func (b *Baker) pkg(ctx context.Context, l *layout, baked *Baked) ([]part, error) {
	p := l.recipe.Platform
	arch, ok := pkgArch[p.Arch]
	if !ok || p.OS != "solaris" {
		return nil, fault.Hint(fmt.Errorf("format pkg is not made for %s", p), "give these hosts another format, such as tgz")
	}
	scripts, err := pkgScripts(l)
	if err != nil {
		return nil, err
	}
	list := inline(madeHere, pkgList, pkgPaths(l))
	l.shared[len(l.shared)-1] = append(l.shared[len(l.shared)-1], list) // with the steps
	objects := &stream{}
	var sums []fileSum
	for _, a := range []struct {
		as    *archiver
		files [][]*file
	}{{pkgInstall, [][]*file{scripts}}, {pkgRoot, l.shared[1:]}} { // without directories: pkgmap says what they are
		for _, files := range a.files {
			if files = withBytes(files); len(files) == 0 {
				continue
			}
			payload := a.as.payload(files)
			payload.plain = true
			g, err := b.segment(ctx, payload, baked)
			if err != nil {
				return nil, err
			}
			objects.place(g)
			sums = append(sums, g.sums...)
			if a.as == pkgRoot {
				baked.list(g.ref.Digest, files, g.sums)
			}
		}
	}
	var own bytes.Buffer
	last, err := pkgRoot.write(ctx, &own, withBytes(l.own))
	if err != nil {
		return nil, err
	}
	baked.list(schema.Digest{}, l.own, last)
	objects.write(own.Bytes())
	objects.write(pkgRoot.end)

	info := pkgInfo(l, arch)
	text, blocks, err := pkgMap(l, scripts, info, append(sums, last...))
	if err != nil {
		return nil, err
	}
	if blocks > maxCpio/pkgBlock {
		return nil, errors.New("is 2 TiB or more")
	}
	head := &stream{}
	head.write(padded(fmt.Appendf(nil, "# PaCkAgE DaTaStReAm\n%s 1 %d\n# end of header\n", l.name, blocks)))
	first, err := pkgAbout(ctx, "/"+l.name, info, text)
	if err != nil {
		return nil, err
	}
	head.write(padded(append(first, pkgRoot.end...)))
	second, err := pkgAbout(ctx, "", info, text)
	if err != nil {
		return nil, err
	}
	head.write(second)
	before := head.size
	head.embed(objects)
	head.write(make([]byte, -(head.size-before+int64(len(second)))&(pkgBlock-1)))
	return head.parts, nil
}

// withBytes is files without links, which stand in pkgmap only.
func withBytes(files []*file) []*file {
	return slices.DeleteFunc(slices.Clone(files), (*file).isLink)
}

// padded brings b to whole blocks.
func padded(b []byte) []byte { return append(b, make([]byte, -len(b)&(pkgBlock-1))...) }

// The archives of a datastream are cpio as in an rpm, but for the names: files lie below root, scripts below install.
var (
	pkgRoot    = cpioArchiver("cpio root", "root")
	pkgInstall = cpioArchiver("cpio install", "install")
)

// pkgAbout is the entries of pkginfo and pkgmap.
func pkgAbout(ctx context.Context, dir string, info, text []byte) ([]byte, error) {
	var b bytes.Buffer
	_, err := cpioArchiver("", strings.TrimPrefix(dir, "/")).write(ctx, &b,
		[]*file{inline(madeHere, "/pkginfo", info), inline(madeHere, "/pkgmap", text)})
	return b.Bytes(), err
}

// pkgInfo is the parameters of pkginfo(4). What a script is told in variables is there, too.
func pkgInfo(l *layout, arch string) []byte {
	synopsis, text := description(l)
	var b bytes.Buffer
	for _, f := range [][2]string{
		{"PKG", l.name}, {"NAME", synopsis}, {"VERSION", l.version}, {"ARCH", arch}, {"CATEGORY", "application"}, {"DESC", text[:min(len(text), 240)]},
		{"VENDOR", maintainer(l)}, {"HOTLINE", oneLine(l.server)}, {"PSTAMP", string(l.recipe.ID)}, {"BASEDIR", "/"}, {"CLASSES", "none"},
		// Each zone has an updater of its own, or none.
		{"SUNW_PKG_ALLZONES", "false"}, {"SUNW_PKG_HOLLOW", "false"}, {"SUNW_PKG_THISZONE", "true"},
	} {
		if f[1] != "" {
			fmt.Fprintf(&b, "%s=%s\n", f[0], strings.Map(pkgValue, f[1]))
		}
	}
	return b.Bytes()
}

// pkgValue leaves out of a value what means something in pkginfo or is not ASCII. A line holds at most 256 bytes there.
func pkgValue(r rune) rune {
	if r < ' ' || r >= 0x7f || strings.ContainsRune("\"'`$\\#", r) {
		return '_'
	}
	return r
}

// pkgMap is the package's contents as pkgmap(4) has them, in the order of paths, and the size of all in blocks.
func pkgMap(l *layout, scripts []*file, info []byte, sums []fileSum) ([]byte, int64, error) {
	var lines [][2]string // path and line
	var blocks int64
	stat := func(s fileSum) string {
		blocks += (s.size + pkgBlock - 1) / pkgBlock
		return fmt.Sprintf("%d %d %d", s.size, s.sysV(), epoch.Unix())
	}
	read := make(map[string]fileSum, len(sums))
	for _, s := range sums {
		read[s.path] = s
	}
	for _, f := range append([]*file{inline(madeHere, "/pkginfo", info)}, scripts...) {
		s, ok := read[f.path]
		if !ok { // pkginfo, which is in neither archive's files
			s = fileSum{size: int64(len(info))}
			s.sum.Write(info)
		}
		lines = append(lines, [2]string{f.path[1:], fmt.Sprintf("1 i %s %s", f.path[1:], stat(s))})
	}
	for _, files := range append(slices.Clone(l.shared), l.own) {
		for _, f := range files {
			if err := pkgPath(f.path); err != nil {
				return nil, 0, fmt.Errorf("plugin %s: file %.200q: %w", f.plugin, f.path, err)
			}
			if f.path == "/" {
				continue
			}
			if f.isLink() {
				blocks++
				if err := pkgPath(f.link); err != nil {
					return nil, 0, fmt.Errorf("plugin %s: link %.200q: %w", f.plugin, f.path, err)
				}
				lines = append(lines, [2]string{f.path, fmt.Sprintf("1 s none %s=%s", f.path, f.link)})
				continue
			}
			if f.mode.IsDir() {
				blocks++
				who := fmt.Sprintf("%04o %s %s", f.mode.Perm(), cmp.Or(f.owner, "root"), cmp.Or(f.group, "root"))
				if f.implied() && solarisDir(f.path) {
					who = "? ? ?" // as it is
				}
				lines = append(lines, [2]string{f.path, fmt.Sprintf("1 d none %s %s", f.path, who)})
				continue
			}
			lines = append(lines, [2]string{f.path, fmt.Sprintf("1 f none %s %04o %s %s %s", f.path, f.mode.Perm(),
				cmp.Or(f.owner, "root"), cmp.Or(f.group, "root"), stat(read[f.path]))})
		}
	}
	slices.SortFunc(lines, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	var b bytes.Buffer
	fmt.Fprintf(&b, ": 1 %d\n", blocks)
	for _, line := range lines {
		b.WriteString(line[1] + "\n")
	}
	return b.Bytes(), blocks, nil
}

// pkgPath says why a path cannot stand in pkgmap, where blanks part fields, "=" names a link's target and "$" a variable.
func pkgPath(p string) error {
	if strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '=' || r == '$' }) || len(p) > 1000 {
		return fault.Hint(errors.New("a pkg holds no path with blanks, \"=\", \"$\", other than ASCII, or more than 1000 bytes"),
			"give these hosts the format tgz, or name the file otherwise")
	}
	return nil
}

// solarisDir reports whether a directory belongs to the system, or is shared by packages.
func solarisDir(p string) bool {
	return fleet.SystemDir(p) || slices.ContainsFunc([]string{"/lib/svc", "/var/svc"},
		func(t string) bool { return p == t || strings.HasPrefix(p, t+"/") })
}

// pkgPaths is pkgList. Directories that plugins have end in a slash and come last, each before those that it is in.
func pkgPaths(l *layout) []byte {
	paths := []string{pkgList}
	for _, files := range append(slices.Clone(l.shared), l.own) {
		for _, f := range files {
			if !f.mode.IsDir() {
				paths = append(paths, f.path)
			}
		}
	}
	slices.Sort(paths)
	for _, d := range slices.Backward(l.directories) {
		paths = append(paths, d.path+"/")
	}
	return []byte(strings.Join(paths, "\n") + "\n")
}

// pkgScripts is the scripts that pkgadd and pkgrm run. What plugins want done stands in schema.ScriptsFile, as in a tgz; before
// the files are there, preinstall makes it. An upgrade is a pkgadd over what is installed: the steps of the package before
// come from its own file, which preinstall keeps.
func pkgScripts(l *layout) ([]*file, error) {
	steps := updaterScripts(l, false)
	l.shared = append(l.shared, []*file{steps})
	r, err := steps.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(r); err != nil {
		return nil, err
	}
	const end = "END-OF-BAKEHOUSE-SCRIPTS"
	if strings.Contains(text.String(), end) {
		return nil, fmt.Errorf("a script has the word %s, which a pkg has a use of its own for", end)
	}
	vars := strings.NewReplacer("@STATE@", schema.StateDir("linux"), "@SCRIPTS@", steps.path,
		"@FILES@", pkgList, "@ACTION@", fleet.ActionVariable,
		"@END@", end, "@STEPS@\n", text.String())
	var files []*file
	for _, s := range []struct{ name, text string }{
		{"postinstall", pkgPostinstall}, {"postremove", pkgPostremove}, {"preinstall", pkgPreinstall}, {"preremove", pkgPreremove},
	} {
		script := "#!/bin/sh\n# Baked by Bakehouse.\n" + vars.Replace(pkgCommon+s.text)
		files = append(files, inline(madeHere, "/"+s.name, []byte(script)))
	}
	return files, nil
}
