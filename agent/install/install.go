package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bakehouse/agent/install/ready"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// System is the host that packages are installed on.
type System struct {
	Root string       // directory in place of /; empty: the real one
	Log  *slog.Logger // what installers print, at debug level, and what whoever looks after the host should know

	fail func(step string, done bool) error // tests: called before and after each step of a version switch
}

// Package is a staged package: a file in a directory that only the updater can write.
type Package struct {
	File    string
	SHA256  schema.Digest
	Size    int64 // bytes of File
	Name    string
	Version string
	Recipe  schema.RecipeID
	Format  schema.Format
}

// Revert takes an installation back. It can be called once.
type Revert func(context.Context) error

// path is where an absolute path of a package is on this system.
func (s *System) path(p string) string { return filepath.Join(s.root(), p) }

func (s *System) root() string {
	if s.Root == "" {
		return "/"
	}
	return s.Root
}

func (s *System) sandboxed() bool { return s.root() != "/" }

// CanInstall says what is missing to install packages of a format here, if anything.
func (s *System) CanInstall(f schema.Format) error {
	if p := (schema.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); f.Valid() && !slices.Contains(p.Formats(), f) {
		return fmt.Errorf("the package is a %s, which is not supported on %s", f, p)
	}
	switch f {
	case schema.Tgz:
		return nil
	case schema.Pkg:
		if _, err := exec.LookPath("pkgadd"); err != nil {
			return fault.Hint(errors.New("the package is a pkg, but this host has no pkgadd"),
				"set format: \"tgz\" for this host in the fleet's repo")
		}
		return nil
	case schema.Deb:
		if _, err := exec.LookPath("dpkg"); err != nil {
			return fault.Hint(errors.New("the package is a deb, but this host has no dpkg"),
				"set format: \"tgz\" for this host in the fleet's repo")
		}
		return nil
	case schema.Rpm:
		if _, err := exec.LookPath("rpm"); err != nil {
			return fault.Hint(errors.New("the package is an rpm, but this host has no rpm"),
				"set format: \"tgz\" for this host in the fleet's repo")
		}
		return nil
	}
	return fmt.Errorf("unknown package format %.40q", f)
}

// Provides says what this host lacks of what a package needs, if anything.
func (s *System) Provides(ctx context.Context, n schema.Needs) error {
	return s.host().Provides(ctx, n)
}

func (s *System) host() ready.Host { return ready.Host{Path: s.path, List: s.listing, Has: has} }

// has looks for a program where packages' scripts do.
func has(program string) bool {
	_, path, _ := strings.Cut(systemPath, "=")
	return slices.ContainsFunc(filepath.SplitList(path), func(dir string) bool {
		fi, err := os.Stat(filepath.Join(dir, program))
		return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
	})
}

// Install installs p, which may be what is already there, older or newer. If it fails and the error is Touched, the
// caller installs the previous package, which is also the only way back from a success where Revert is nil.
func (s *System) Install(ctx context.Context, p Package) (Revert, error) {
	if err := s.CanInstall(p.Format); err != nil {
		return nil, err
	}
	if err := s.checkOwner(ctx, p); err != nil {
		return nil, err
	}
	f, err := openVerified(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	host := s.host()
	if p.Format == schema.Deb {
		host.Scripts = dpkgDir + "/tmp.ci"
	}
	if err := host.Check(ctx, p.File, p.Format); err != nil {
		return nil, err
	}
	switch p.Format {
	case schema.Deb:
		return nil, s.installDeb(ctx, p)
	case schema.Rpm:
		return nil, s.installRpm(ctx, p, lockWait)
	case schema.Pkg:
		return nil, s.installPkg(ctx, p)
	}
	return s.installVersion(ctx, p, f)
}

// program is where packages have the updater.
var program = schema.ProgramFile(runtime.GOOS)

// checkOwner refuses to let one package manager write over what another one installed. Which of them is on the host says
// little: Debian has an rpm too.
func (s *System) checkOwner(ctx context.Context, p Package) error {
	f := p.Format
	var other schema.Format
	var err error
	switch f {
	case schema.Deb:
		other = schema.Rpm
		_, err = s.rpm(ctx, "--query", "--file", program)
	case schema.Rpm:
		other = schema.Deb
		_, err = s.command(ctx, nil, "dpkg-query", "--admindir="+s.path(dpkgDir), "--search", program)
	default: // links are never made over the files of others
		return s.checkPkgOwner(ctx, p)
	}
	if err != nil { // it is not there, or knows nothing of the file
		return nil
	}
	return fault.Hint(fmt.Errorf("the package is a %s, but %s on this host came from a %s", f, program, other),
		"set format: %q for this host in the fleet's repo, or remove that package and install the %s manually", other, f)
}

// openVerified digests the staged file at the last moment and returns it rewound.
func openVerified(p Package) (*os.File, error) {
	f, err := os.Open(p.File)
	if err != nil {
		return nil, fmt.Errorf("staged package: %w", err)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, p.Size+1))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("staged package: %w", err)
	}
	if got := schema.Digest(h.Sum(nil)); n != p.Size || got != p.SHA256 {
		f.Close()
		return nil, &schema.AlteredError{Object: "staged package", Want: p.SHA256, Got: got}
	}
	return f, nil
}

// touchedError marks a failure that may have left the system between two packages.
type touchedError struct{ err error }

func (e *touchedError) Error() string { return e.err.Error() }
func (e *touchedError) Unwrap() error { return e.err }

// Touched reports whether a failed Install may have left the system between two packages. If not, what was installed
// before is there unchanged.
func Touched(err error) bool {
	var t *touchedError
	return errors.As(err, &t)
}

// releaseError marks a failure that speaks against the package: its own script failed. All else may be the host's.
type releaseError struct{ err error }

func (e *releaseError) Error() string { return e.err.Error() }
func (e *releaseError) Unwrap() error { return e.err }

// OfRelease reports whether a failed Install speaks against the package. If not, it may well succeed once the host is
// in another condition.
func OfRelease(err error) bool {
	var r *releaseError
	return errors.As(err, &r)
}

// NotReady is the exit status by which a package's own script says that the host is not ready for it (sysexits.h:
// EX_TEMPFAIL), which is no failure of the release.
const NotReady = 75

func (s *System) warn(msg string, args ...any) {
	if s.Log != nil {
		s.Log.Warn(msg, args...)
	}
}

func (s *System) debug(msg string, args ...any) {
	if s.Log != nil {
		s.Log.Debug(msg, args...)
	}
}
