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

	"bakehouse/reconcile/bake/rpmheader"
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
	payload, sums, last, err := b.archive(ctx, cpioArchive, shared, l.own, baked)
	if err != nil {
		return nil, err
	}
	digest, err := b.prefixes.digest(ctx, payload.parts)
	if err != nil {
		return nil, err
	}
	h, own := rpmMetadata(l, version, arch.name), &rpmheader.Header{}
	addFiles(h, rpmFiles(shared, l.own, append(sums, last...)), own)
	h.Text(rpmheader.TagPayloadFormat, "cpio")
	h.Text(rpmheader.TagPayloadCompressor, "gzip")
	h.Text(rpmheader.TagPayloadFlags, fmt.Sprint(level))
	h.Int32s(rpmheader.TagPayloadDigestAlgo, rpmSHA256)
	own.Texts(rpmheader.TagPayloadDigest, digest.Hex())
	own.Text(rpmheader.TagRelease, release)
	related := l.related(schema.Rpm)
	dependencies(own, rpmheader.TagProvideName, rpmheader.TagProvideFlags, rpmheader.TagProvideVersion,
		append(rpmDeps(related.Provides), rpmDep{l.name, depEqual, l.version}))
	head, tail := rpmheader.Encode(rpmheader.TagHeaderImmutable, *h, *own)
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
	var sig rpmheader.Header
	sig.Text(rpmheader.SigSHA256, hex.EncodeToString(sum.Sum(nil)))
	sig.Int32s(rpmheader.SigSize, uint32(size))
	sig.Int32s(rpmheader.SigPayloadSize, uint32(payload.raw))
	index, values := rpmheader.Encode(rpmheader.TagHeaderSignatures, nil, sig)
	start, err := b.segment(ctx, plainPayload(append(rpmheader.Lead(l.name, arch.number), index...)), baked)
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
		case files[0].path == schema.AnchorFile("linux"):
			first = append(first, files...)
		default:
			rest = append(rest, files)
		}
	}
	return slices.Insert(rest, 0, first)
}

// rpmMetadata is the tags that say what the package is and needs, but for those that differ from recipe to recipe.
func rpmMetadata(l *layout, version, arch string) *rpmheader.Header {
	h := &rpmheader.Header{}
	synopsis, text := description(l)
	h.Texts(rpmheader.TagHeaderI18NTable, "C")
	h.Text(rpmheader.TagName, l.name)
	h.Text(rpmheader.TagVersion, version)
	h.I18N(rpmheader.TagSummary, strings.ToUpper(synopsis[:1])+synopsis[1:])
	h.I18N(rpmheader.TagDescription, strings.Join(wrap(text, 79), "\n"))
	h.Int32s(rpmheader.TagBuildTime, uint32(epoch.Unix()))
	h.Text(rpmheader.TagBuildHost, "localhost")
	h.Text(rpmheader.TagVendor, cmp.Or(oneLine(l.fleet), "Bakehouse"))
	h.Text(rpmheader.TagLicense, "Apache-2.0")
	h.Text(rpmheader.TagPackager, maintainer(l))
	h.I18N(rpmheader.TagGroup, "System/Monitoring")
	if l.server != "" {
		h.Text(rpmheader.TagURL, oneLine(l.server))
	}
	h.Text(rpmheader.TagOS, "linux")
	h.Text(rpmheader.TagArch, arch)
	// There is none, but without a name rpm takes this for a source package.
	h.Text(rpmheader.TagSourceRPM, l.name+"-"+version+"-1.src.rpm")
	h.Text(rpmheader.TagRPMVersion, "4.14.0") // the oldest whose digests these are
	h.Text(rpmheader.TagEncoding, "utf-8")
	h.Int32s(rpmheader.TagChangelogTime, uint32(epoch.Unix()))
	h.Texts(rpmheader.TagChangelogName, maintainer(l)+" - "+version)
	h.Texts(rpmheader.TagChangelogText,
		"- Baked with host program "+version+". What changed for a host is in the fleet's repo.")
	related := l.related(schema.Rpm)
	dependencies(h, rpmheader.TagConflictName, rpmheader.TagConflictFlags, rpmheader.TagConflictVersion,
		rpmDeps(related.Conflicts))
	dependencies(h, rpmheader.TagObsoleteName, rpmheader.TagObsoleteFlags, rpmheader.TagObsoleteVersion,
		rpmDeps(related.Replaces))
	// What rpm itself must know to read this package.
	needs := append(rpmDeps(related.Depends), []rpmDep{
		{"rpmlib(CompressedFileNames)", depRpmlib, "3.0.4-1"},  // directories and names apart
		{"rpmlib(FileDigests)", depRpmlib, "4.6.0-1"},          // not MD5
		{"rpmlib(PayloadFilesHavePrefix)", depRpmlib, "4.0-1"}, // names in the payload start with "."
	}...)
	if len(l.capable()) > 0 {
		needs = append(needs, rpmDep{"rpmlib(FileCaps)", depRpmlib, "4.6.1-1"})
	}
	for _, s := range rpmScripts(l) {
		h.Text(s.tag, s.text)
		h.Text(s.prog, shell)
		needs = append(needs, rpmDep{shell, depInterpreter | s.sense, ""})
	}
	dependencies(h, rpmheader.TagRequireName, rpmheader.TagRequireFlags, rpmheader.TagRequireVersion, needs)
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
func dependencies(h *rpmheader.Header, nameTag, flagsTag, versionTag uint32, deps []rpmDep) {
	slices.SortFunc(deps, func(a, b rpmDep) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version), cmp.Compare(a.flags, b.flags))
	})
	var names, versions []string
	var flags []uint32
	for _, d := range deps {
		names, flags, versions = append(names, d.name), append(flags, d.flags), append(versions, d.version)
	}
	h.Texts(nameTag, names...)
	h.Int32s(flagsTag, flags...)
	h.Texts(versionTag, versions...)
}
