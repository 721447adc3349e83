package bake

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// rpmArch names rpm's architectures by Go's, and their numbers in the lead, which nothing but file(1) reads.
var rpmArch = map[string]struct {
	name   string
	number uint16
}{"amd64": {"x86_64", 1}, "386": {"i686", 1}, "arm64": {"aarch64", 19}, "arm": {"armv7hl", 12}, "ppc64le": {"ppc64le", 16},
	"s390x": {"s390x", 15}, "riscv64": {"riscv64", 22}}

const rpmSHA256 = 8 // as OpenPGP numbers it (RFC 4880, 9.4)

// rpm makes a package as rpm's format 4 has it: lead, signature header, header, payload. As with a deb, only the head and
// the payload's end are new. There are no legacy digests (MD5 takes 6 ms for 10 MB, and is refused where FIPS 140 rules).
//
// The signature header holds digests; an OpenPGP signature over the header is one more entry in it (seal.go), in copies only.
func (b *Baker) rpm(ctx context.Context, l *layout, baked *Baked) ([]part, error) {
	p := l.recipe.Platform
	arch, ok := rpmArch[p.Arch]
	if !ok || p.OS != "linux" {
		return nil, fault.Hint(fmt.Errorf("format rpm is not made for %s", p), "give these hosts another format, such as tgz")
	}
	// rpm shows the recipe as the release. It orders nothing: a host takes what its assignment says, newer or not.
	version, release := strings.TrimSuffix(l.version, "+"+string(l.recipe.ID)), string(l.recipe.ID)
	l.version = version + "-" + release
	shared := rpmShared(l.shared)
	payload, sums, err := b.archive(ctx, cpioArchive, shared, l.own, baked)
	if err != nil {
		return nil, err
	}
	digest, err := b.prefixes.digest(ctx, payload.parts)
	if err != nil {
		return nil, err
	}
	h, own := rpmMetadata(l, version, arch.name), &rpmHeader{}
	h.addFiles(rpmFiles(shared, l.own, sums), own)
	h.text(tagPayloadFormat, "cpio")
	h.text(tagPayloadCompressor, "gzip")
	h.text(tagPayloadFlags, fmt.Sprint(level))
	h.int32s(tagPayloadDigestAlgo, rpmSHA256)
	own.texts(tagPayloadDigest, digest.Hex())
	own.text(tagRelease, release)
	related := l.related(schema.Rpm)
	own.dependencies(tagProvideName, tagProvideFlags, tagProvideVersion, append(rpmDeps(related.Provides), rpmDep{l.name, depEqual, l.version}))
	head, tail := encodeHeader(tagHeaderImmutable, *h, *own)
	g, err := b.segment(ctx, plainPayload(head), baked)
	if err != nil {
		return nil, err
	}

	size := int64(len(head)+len(tail)) + payload.size
	if max(size, payload.raw) > maxCpio {
		return nil, errors.New("is 4 GiB or more, which takes another form of rpm")
	}
	sum := sha256.New()
	sum.Write(head)
	sum.Write(tail)
	var sig rpmHeader
	sig.text(sigSHA256, hex.EncodeToString(sum.Sum(nil)))
	sig.int32s(sigSize, uint32(size))
	sig.int32s(sigPayloadSize, uint32(payload.raw))
	index, values := encodeHeader(tagHeaderSignatures, nil, sig)
	start, err := b.segment(ctx, plainPayload(append(rpmLead(l.name, arch.number), index...)), baked)
	if err != nil {
		return nil, err
	}

	s := &stream{}
	s.place(start)
	s.write(values)
	s.write(make([]byte, -(len(index)+len(values))&7))
	s.place(g)
	s.write(tail)
	s.embed(payload)
	return s.parts, nil
}

// rpmShared is the shared files as an rpm has them: without the system's directories, of which there is so little left that
// they go with the anchor root, because each segment is half a hundred bytes in every manifest.
func rpmShared(shared [][]*file) [][]*file {
	var first []*file
	var rest [][]*file
	for i, files := range shared {
		switch {
		case i == 0:
			first = ownedDirs(files)
		case files[0].path == schema.AnchorFile:
			first = append(first, files...)
		default:
			rest = append(rest, files)
		}
	}
	return slices.Insert(rest, 0, first)
}

// rpmMetadata is the tags that say what the package is and needs, but for those that differ from recipe to recipe.
func rpmMetadata(l *layout, version, arch string) *rpmHeader {
	h := &rpmHeader{}
	synopsis, text := description(l)
	h.texts(tagHeaderI18NTable, "C")
	h.text(tagName, l.name)
	h.text(tagVersion, version)
	h.i18n(tagSummary, strings.ToUpper(synopsis[:1])+synopsis[1:])
	h.i18n(tagDescription, strings.Join(wrap(text, 79), "\n"))
	h.int32s(tagBuildTime, uint32(epoch.Unix()))
	h.text(tagBuildHost, "localhost")
	h.text(tagVendor, cmp.Or(oneLine(l.fleet), "Bakehouse"))
	h.text(tagLicense, "Apache-2.0")
	h.text(tagPackager, maintainer(l))
	h.i18n(tagGroup, "System/Monitoring")
	if l.server != "" {
		h.text(tagURL, oneLine(l.server))
	}
	h.text(tagOS, "linux")
	h.text(tagArch, arch)
	h.text(tagSourceRPM, l.name+"-"+version+"-1.src.rpm") // there is none, but without a name rpm takes this for a source package
	h.text(tagRPMVersion, "4.14.0")                       // the oldest whose digests these are
	h.text(tagEncoding, "utf-8")
	h.int32s(tagChangelogTime, uint32(epoch.Unix()))
	h.texts(tagChangelogName, maintainer(l)+" - "+version)
	h.texts(tagChangelogText, "- Baked with host program "+version+". What changed for a host is in the fleet's repo.")
	related := l.related(schema.Rpm)
	h.dependencies(tagConflictName, tagConflictFlags, tagConflictVersion, rpmDeps(related.Conflicts))
	h.dependencies(tagObsoleteName, tagObsoleteFlags, tagObsoleteVersion, rpmDeps(related.Replaces))
	// What rpm itself must know to read this package.
	needs := append(rpmDeps(related.Depends), []rpmDep{
		{"rpmlib(CompressedFileNames)", depRpmlib, "3.0.4-1"},  // directories and names apart
		{"rpmlib(FileDigests)", depRpmlib, "4.6.0-1"},          // not MD5
		{"rpmlib(PayloadFilesHavePrefix)", depRpmlib, "4.0-1"}, // names in the payload start with "."
	}...)
	for _, s := range rpmScripts(l) {
		h.text(s.tag, s.text)
		h.text(s.prog, shell)
		needs = append(needs, rpmDep{shell, depInterpreter | s.sense, ""})
	}
	h.dependencies(tagRequireName, tagRequireFlags, tagRequireVersion, needs)
	return h
}

const shell = "/bin/sh"

// Flags of dependencies.
const (
	depLess        = 1 << 1
	depGreater     = 1 << 2
	depEqual       = 1 << 3
	depPosttrans   = 1 << 5
	depPretrans    = 1 << 7
	depInterpreter = 1 << 8
	depPre         = 1 << 9
	depPost        = 1 << 10
	depPreun       = 1 << 11
	depPostun      = 1 << 12
	depRpmlib      = 1<<24 | depLess | depEqual
)

// rpmDep is a dependency, or what is provided: a name, and the version that it must compare to by the flags.
type rpmDep struct {
	name    string
	flags   uint32
	version string
}

func rpmDeps(related []fleet.Relation) (deps []rpmDep) {
	flags := map[string]uint32{"<": depLess, "<=": depLess | depEqual, "=": depEqual, ">=": depGreater | depEqual, ">": depGreater}
	for _, r := range related {
		deps = append(deps, rpmDep{r.Name, flags[r.Op], r.Version})
	}
	return deps
}

// dependencies adds a list of them, in the order in which rpm searches it.
func (h *rpmHeader) dependencies(nameTag, flagsTag, versionTag uint32, deps []rpmDep) {
	slices.SortFunc(deps, func(a, b rpmDep) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version), cmp.Compare(a.flags, b.flags))
	})
	var names, versions []string
	var flags []uint32
	for _, d := range deps {
		names, flags, versions = append(names, d.name), append(flags, d.flags), append(versions, d.version)
	}
	h.texts(nameTag, names...)
	h.int32s(flagsTag, flags...)
	h.texts(versionTag, versions...)
}
