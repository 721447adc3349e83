package bake

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
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
	n := len(sums) - len(l.own)
	control, err := b.debControl(ctx, l, arch, sums[:n], sums[n:], baked)
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

// debControl is control.tar.gz: control, the scripts and md5sums. Control begins with what each package has of its own, and
// md5sums ends with it; all that is between is one segment, which packages of the same plugins share. There are no
// conffiles: what is baked belongs to the repo, and dpkg shall never ask.
func (b *Baker) debControl(ctx context.Context, l *layout, arch string, shared, own []fileSum, baked *Baked) (*stream, error) {
	var first, middle, last bytes.Buffer
	fields, more := controlFields(l, slices.Concat(shared, own)), commonFields(l, arch)
	if err := tarStart(&first, "control", len(fields)+len(more)); err != nil {
		return nil, err
	}
	first.WriteString(fields)

	middle.WriteString(more)
	middle.Write(tarPadding(len(fields) + len(more)))
	if _, err := tarFiles(ctx, &middle, maintainerScripts(l)); err != nil {
		return nil, err
	}
	lines, ownLines := md5sums(shared), md5sums(own)
	if err := tarStart(&middle, "md5sums", len(lines)+len(ownLines)); err != nil {
		return nil, err
	}
	middle.Write(lines)

	last.Write(ownLines)
	last.Write(tarPadding(len(lines) + len(ownLines)))
	last.Write(tarArchive.end)

	g, err := b.segment(ctx, textPayload(middle.Bytes()), baked)
	if err != nil {
		return nil, err
	}
	s := newStream()
	s.literal(first.Bytes(), false)
	s.splice(g)
	s.end(last.Bytes())
	return s, nil
}

// controlFields is the part of the package's metadata (deb-control(5)) that every recipe has of its own.
func controlFields(l *layout, sums []fileSum) string {
	// In KiB, each file rounded up and each directory counted as one, as dpkg-gencontrol estimates.
	installed := int64(l.dirCount)
	for _, s := range sums {
		installed += (s.size + 1023) / 1024
	}
	return fmt.Sprintf("Package: %s\nVersion: %s\nInstalled-Size: %d\n", l.name, l.version, installed)
}

// commonFields is the rest.
func commonFields(l *layout, arch string) string {
	fleetName := oneLine(cmp.Or(l.fleet, "without updater"))
	var plugins []string
	for _, o := range l.recipe.Outputs {
		plugins = append(plugins, o.Plugin)
	}
	slices.Sort(plugins)
	var b strings.Builder
	fmt.Fprintf(&b, "Architecture: %s\n", arch)
	fmt.Fprintf(&b, "Maintainer: Bakehouse fleet %s <bakehouse@localhost>\n", fleetName)
	fmt.Fprintf(&b, "Section: admin\nPriority: optional\n")
	b.WriteString(debRelations(l.related(schema.Deb)))
	fmt.Fprintf(&b, "Description: monitoring agent with its settings, baked from a repo\n")
	fmt.Fprintf(&b, " Fleet %s, plugins: %s.\n", fleetName, cmp.Or(strings.Join(plugins, ", "), "none"))
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
func md5sums(sums []fileSum) []byte {
	var b bytes.Buffer
	for _, s := range sums {
		fmt.Fprintf(&b, "%x  %s\n", s.md5, s.path[1:])
	}
	return b.Bytes()
}
