package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Platform is an operating system and an architecture in Go's names, as text "linux/amd64".
type Platform struct{ OS, Arch string }

var platformWord = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// ParsePlatform reads "os/arch".
func ParsePlatform(s string) (Platform, error) {
	os, arch, ok := strings.Cut(s, "/")
	if !ok || !platformWord.MatchString(os) || !platformWord.MatchString(arch) {
		return Platform{}, fmt.Errorf("platform %.80q is not of the form os/arch, such as linux/amd64", s)
	}
	return Platform{os, arch}, nil
}

func (p Platform) String() string {
	if p == (Platform{}) {
		return ""
	}
	return p.OS + "/" + p.Arch
}

// MarshalText implements encoding.TextMarshaler.
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; empty text is the zero Platform, which MarshalText writes so.
func (p *Platform) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*p = Platform{}
		return nil
	}
	*p, err = ParsePlatform(string(b))
	return err
}

// Format names a kind of package.
type Format string

// The formats that are baked today.
const (
	Deb Format = "deb"
	Rpm Format = "rpm"
	Tgz Format = "tgz"
	Pkg Format = "pkg" // Solaris, a System V datastream
	Msi Format = "msi" // Windows Installer
)

// Valid reports whether f is a format that this version bakes and installs.
func (f Format) Valid() bool { return f == Deb || f == Rpm || f == Tgz || f == Pkg || f == Msi }

// linuxArchs are those that deb and rpm have a name for.
var linuxArchs = []string{"amd64", "386", "arm64", "arm", "ppc64le", "s390x", "riscv64"}

// windowsArchs are those that a Windows Installer package has a name for.
var windowsArchs = []string{"amd64", "386", "arm64"}

// Formats are the formats that a platform's packages can have; none if no package is made for it.
func (p Platform) Formats() []Format {
	switch p.OS {
	case "linux":
		if slices.Contains(linuxArchs, p.Arch) {
			return []Format{Deb, Rpm, Tgz}
		}
		return []Format{Tgz}
	case "solaris":
		return []Format{Pkg, Tgz}
	case "aix", "freebsd", "darwin":
		return []Format{Tgz}
	case "windows":
		if slices.Contains(windowsArchs, p.Arch) {
			return []Format{Msi}
		}
	}
	return nil
}

// RecipeID is the first 16 hex digits of the hash over a recipe: the configuration and every shipped file. It is
// text even where all its digits are decimal.
type RecipeID string

// Valid reports whether r has the form of a recipe hash: 16 lower-case hex digits.
func (r RecipeID) Valid() bool {
	for _, c := range []byte(r) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(r) == 16
}

// CheckHostName says what is wrong with a host's name, if anything: at most 253 letters, digits, '-', '_' and
// single dots, none of them leading or trailing; no '-' leads either. The name becomes part of target paths, URLs and
// file names, so it is held to what is safe in all of them. A reader of a fleet checks 100,000 of them: no regexp.
func CheckHostName(s string) error {
	ok := len(s) > 0 && len(s) <= 253
	before := byte('.')
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
		case c == '-':
			ok = i > 0
		case c == '.':
			ok = before != '.' && i < len(s)-1
		default:
			ok = false
		}
		before = c
	}
	if !ok {
		return fmt.Errorf("host name %.80q is not 1 to 253 letters, digits, '-', '_' and inner single dots", s)
	}
	return nil
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

// CheckName says what is wrong with the name of a key, site, ring, user or plugin, if anything.
func CheckName(s string) error {
	if !plainName.MatchString(s) || strings.Contains(s, "..") {
		return fmt.Errorf("name %.80q is not 1 to 63 letters, digits, '.', '-' and '_', starting with a letter, digit or '_'", s)
	}
	return nil
}
