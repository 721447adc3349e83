package bake

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
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
		return nil, fault.Hint(fmt.Errorf("format deb is not made for %s", p), "give these hosts another format, such as tgz")
	}
	data, shared, own, err := b.archive(ctx, tarArchive, l.shared, l.own, baked)
	if err != nil {
		return nil, err
	}
	control, err := b.debControl(ctx, l, arch, shared, own, baked)
	if err != nil {
		return nil, err
	}
	s := &stream{}
	s.write([]byte("!<arch>\n"))
	s.write(ArHeader("debian-binary", 4))
	s.write([]byte("2.0\n"))
	for _, m := range []struct {
		name string
		*stream
	}{{"control.tar.gz", control}, {"data.tar.gz", data}} {
		s.write(ArHeader(m.name, m.size))
		s.embed(m.stream)
		s.write(ArPadding(m.size))
	}
	return s.parts, nil
}

// ArHeader is a member's header: name, time, owner, group, mode, size in bytes.
func ArHeader(name string, size int64) []byte {
	return fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, epoch.Unix(), 0, 0, 0o100644, size)
}

// ArPadding brings a member of that size to an even length.
func ArPadding(size int64) []byte { return []byte("\n")[:size&1] }

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
	var b strings.Builder
	fmt.Fprintf(&b, "Architecture: %s\n", arch)
	fmt.Fprintf(&b, "Maintainer: %s\n", maintainer(l))
	fmt.Fprintf(&b, "Section: admin\nPriority: optional\n")
	if l.server != "" {
		fmt.Fprintf(&b, "Homepage: %s\n", oneLine(l.server))
	}
	b.WriteString(debRelations(l.related(schema.Deb)))
	synopsis, text := description(l)
	fmt.Fprintf(&b, "Description: %s\n", synopsis)
	for _, line := range wrap(text, 79) {
		fmt.Fprintf(&b, " %s\n", line)
	}
	return b.String()
}

// maintainer is whom the fleet's repo makes responsible, as far as a package knows: the fleet, at its server.
func maintainer(l *layout) string {
	host := "localhost.localdomain"
	if u, err := url.Parse(l.server); err == nil && strings.Contains(u.Hostname(), ".") && !strings.ContainsAny(u.Hostname(), ":") {
		host = u.Hostname()
	}
	if l.fleet == "" {
		return "Bakehouse <bakehouse@" + host + ">"
	}
	return fmt.Sprintf("Bakehouse fleet %s <bakehouse@%s>", oneLine(l.fleet), oneLine(host))
}

// description is one line and a paragraph.
func description(l *layout) (synopsis, text string) {
	synopsis = "monitoring agent, baked without its updater"
	text = "This package was baked from a fleet's repo, and does not update itself."
	if l.fleet != "" {
		synopsis = "monitoring agent of the fleet " + oneLine(l.fleet)
		text = "This package was baked from the repo of the fleet " + oneLine(l.fleet) + ", for the hosts that its rules give these very settings. " +
			"The host program bakehouse-agent, if it is registered, replaces it by the next one that the fleet signs."
	}
	var plugins []string
	for _, o := range l.recipe.Outputs {
		plugins = append(plugins, o.Plugin)
	}
	slices.Sort(plugins)
	return synopsis, text + " It has what these plugins of the repo put on a host: " + cmp.Or(strings.Join(plugins, ", "), "none") + "."
}

// wrap breaks a text into lines of at most width bytes, longer words excepted.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
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
