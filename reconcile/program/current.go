package program

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Known are the platforms that the host program compiles for; what it can do on each stands in package agent.
var Known = []schema.Platform{{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "386"},
	{OS: "linux", Arch: "arm64"}, {OS: "linux", Arch: "arm"},
	{OS: "linux", Arch: "ppc64le"}, {OS: "linux", Arch: "s390x"}, {OS: "linux", Arch: "riscv64"},
	{OS: "solaris", Arch: "amd64"},
	{OS: "aix", Arch: "ppc64"}, {OS: "darwin", Arch: "amd64"}, {OS: "darwin", Arch: "arm64"},
	{OS: "freebsd", Arch: "amd64"},
	{OS: "windows", Arch: "amd64"}, {OS: "windows", Arch: "386"}, {OS: "windows", Arch: "arm64"}}

// Platforms is what is pinned when nothing is asked for, nothing is pinned, and no host has a platform.
var Platforms = []schema.Platform{{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "arm64"}}

// Current is the program that this release, or the checkout, has for a platform. A checkout that was named beats the
// folder beside the executable.
func (p Places) Current(ctx context.Context, platform schema.Platform, version string) ([]byte, error) {
	if p.Dir != "" || p.Source == "" {
		b, _, err := p.fromFolder(platform)
		switch {
		case err == nil || !errors.Is(err, fs.ErrNotExist):
			return b, err
		case p.Dir != "" && p.Source == "":
			return nil, fault.Hint(err, "--platform says which platforms to pin, --programs where their programs are")
		}
	}
	if !slices.Contains(Known, platform) {
		return nil, fault.Hint(fmt.Errorf("%w in %s, and it is not made for %s", errNone, p.folder(), platform),
			"it is made for %s", joined(Known))
	}
	checkout, err := p.checkout()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Hint(fmt.Errorf("%w in %s, and this is not a source checkout", errNone, p.folder()),
			"%s; or a directory of programs with --programs", sourceHint())
	}
	if err != nil {
		return nil, err
	}
	b, err := p.build(ctx, checkout, platform, version)
	if err == nil {
		keep(cachePath(schema.DigestOf(b)), b)
	}
	return b, err
}

// errNone is an fs.ErrNotExist.
var errNone = noProgram{}

type noProgram struct{}

func (noProgram) Error() string   { return "there is none" }
func (noProgram) Is(t error) bool { return t == fs.ErrNotExist }

func joined(platforms []schema.Platform) string {
	var names []string
	for _, p := range platforms {
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}
