package bake

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"bakehouse/schema"
)

// debArch names Debian's architectures by Go's.
var debArch = map[string]string{"amd64": "amd64", "386": "i386", "arm64": "arm64", "arm": "armhf", "ppc64le": "ppc64el",
	"s390x": "s390x", "riscv64": "riscv64"}

// deb wraps the data archive as deb(5) has it. Only the head is new: the data member's size is known before any of its
// segments is looked at.
func (b *Baker) deb(ctx context.Context, l *layout, baked *Baked) ([]part, error) {
	p := l.recipe.Platform
	arch, ok := debArch[p.Arch]
	if !ok || p.OS != "linux" {
		return nil, schema.Hint(fmt.Errorf("format deb is not made for %s", p), "give these hosts another format, such as tgz")
	}
	data, sums, err := b.archive(ctx, tarArchive, l.shared, l.own, baked)
	if err != nil {
		return nil, err
	}
	scripts, err := b.segment(ctx, tarArchive.payload(maintainerScripts(l)), baked)
	if err != nil {
		return nil, err
	}
	control, err := debControl(l, arch, scripts, sums)
	if err != nil {
		return nil, err
	}
	s := &stream{}
	s.write([]byte("!<arch>\n"))
	s.write(arHeader("debian-binary", 4))
	s.write([]byte("2.0\n"))
	for _, m := range []struct {
		name string
		*stream
	}{{"control.tar.gz", control}, {"data.tar.gz", data}} {
		s.write(arHeader(m.name, m.size))
		s.embed(m.stream)
		s.write(arPadding(m.size))
	}
	return s.parts, nil
}

// arHeader is a member's header: name, time, owner, group, mode, size in bytes.
func arHeader(name string, size int64) []byte {
	return fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, epoch.Unix(), 0, 0, 0o100644, size)
}

// arPadding brings a member of that size to an even length.
func arPadding(size int64) []byte { return []byte("\n")[:size&1] }

// debControl is control.tar.gz. There are no conffiles: what is baked belongs to the repo, and dpkg shall never ask.
func debControl(l *layout, arch string, scripts *segment, sums []fileSum) (*stream, error) {
	s := newStream()
	s.splice(scripts)
	var tail bytes.Buffer
	w := tar.NewWriter(&tail)
	for _, f := range []struct{ name, text string }{{"control", controlFile(l, arch, sums)}, {"md5sums", md5sums(sums)}} {
		if err := w.WriteHeader(tarHeader("./"+f.name, tar.TypeReg, 0o644, int64(len(f.text)))); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	s.end(tail.Bytes())
	return s, nil
}

// controlFile is the package's metadata (deb-control(5)).
func controlFile(l *layout, arch string, sums []fileSum) string {
	fleetName := cmp.Or(l.fleet, "without updater")
	var plugins []string
	for _, o := range l.recipe.Outputs {
		plugins = append(plugins, o.Plugin)
	}
	slices.Sort(plugins)
	// In KiB, each file rounded up and each directory counted as one, as dpkg-gencontrol estimates.
	installed := int64(l.dirCount)
	for _, s := range sums {
		installed += (s.size + 1023) / 1024
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\n", l.name)
	fmt.Fprintf(&b, "Version: %s\n", l.version)
	fmt.Fprintf(&b, "Architecture: %s\n", arch)
	fmt.Fprintf(&b, "Maintainer: Bakehouse fleet %s <bakehouse@localhost>\n", oneLine(fleetName))
	fmt.Fprintf(&b, "Installed-Size: %d\n", installed)
	fmt.Fprintf(&b, "Section: admin\nPriority: optional\n")
	b.WriteString(debRelations(l.related(schema.Deb)))
	fmt.Fprintf(&b, "Description: monitoring agent with its settings, baked from a repo\n")
	fmt.Fprintf(&b, " Fleet %s, recipe %s, plugins: %s.\n", oneLine(fleetName), l.recipe.ID, cmp.Or(strings.Join(plugins, ", "), "none"))
	return b.String()
}

// oneLine keeps text from ending a field or an address.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune("<>,", r) {
			return '_'
		}
		return r
	}, s)
}

// md5sums lets `dpkg --verify` find files that were changed on the host.
func md5sums(sums []fileSum) string {
	sums = slices.Clone(sums)
	slices.SortFunc(sums, func(a, b fileSum) int { return cmp.Compare(a.path, b.path) })
	var b strings.Builder
	for _, s := range sums {
		fmt.Fprintf(&b, "%x  %s\n", s.md5, s.path[1:])
	}
	return b.String()
}
