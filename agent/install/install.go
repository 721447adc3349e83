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

	"bakehouse/agent/install/listing"
	"bakehouse/agent/install/machine"
	"bakehouse/agent/install/ready"
	"bakehouse/agent/install/walk"
	"bakehouse/agent/process"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// System is the host that packages are installed on.
type System struct{ machine.System }

// On is the system below root, a directory in place of /; empty: the real one. Log may be nil.
func On(root string, log *slog.Logger) *System { return &System{machine.System{Root: root, Log: log}} }

// What all ways of installing share.
type (
	Package = machine.Package
	Revert  = machine.Revert
)

// Touched and OfRelease say what a failed Install means.
var (
	Touched   = machine.Touched
	OfRelease = machine.OfRelease
)

// manager is what puts packages of one format on the host, and knows which are there.
type manager interface {
	format() schema.Format
	// usable says what is missing here to install packages of the format.
	usable() error
	// owns refuses where another manager installed what this one would write over.
	owns(ctx context.Context, p Package) error
	// install puts on p.
	install(ctx context.Context, p Package) (Revert, error)
	// version is that of the package that is installed whole; "" if there is none. It need not be of this updater.
	version(ctx context.Context, p Package) (string, error)
	// witnesses are files of which one changes whenever version may.
	witnesses(p Package) []string
	// locate finds a file of the installed package by its path; "" if it is gone.
	locate() func(path string) string
}

// unpacker is a manager that unpacks packages itself.
type unpacker interface {
	unpack(ctx context.Context, p *Package, assemble func(io.Writer) error) error
	discard(p Package) error
}

// managers are those of a system, in no particular order.
func (s *System) managers() []manager {
	all := []manager{dpkg{s}, rpm{s}, svr4{s}, tgz{s}}
	if native != nil {
		all = append(all, native(s))
	}
	return all
}

// What only one system has; its file sets it.
var (
	native  func(*System) manager                                 // nil: no manager of its own
	reaches func(*System, listing.List) error = (*System).Reaches // refuses where others than root may have led
)

func (s *System) manager(f schema.Format) (manager, error) {
	for _, m := range s.managers() {
		if m.format() == f {
			return m, nil
		}
	}
	return nil, fmt.Errorf("unknown package format %.40q", f)
}

type (
	dpkg struct{ *System }
	rpm  struct{ *System }
	svr4 struct{ *System } // Solaris' package tools
	tgz  struct{ *System } // directories of versions
)

func needsProgram(name, format string) error {
	if _, err := exec.LookPath(name); err != nil {
		return fault.Hint(fmt.Errorf("the package's format is %s, but this host has no %s", format, name),
			"set format: \"tgz\" for this host in the fleet's repo")
	}
	return nil
}

func foreignOwner(is bool, f, other schema.Format) error {
	if !is { // it is not there, or knows nothing of the file
		return nil
	}
	return fault.Hint(fmt.Errorf("the package is a %s, but %s on this host came from a %s", f, program, other),
		"set format: %q for this host in the fleet's repo, or remove that package and install the %s manually", other,
		f)
}

// CanInstall says what is missing to install packages of a format here, if anything.
func (s *System) CanInstall(f schema.Format) error {
	if p := (schema.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); f.Valid() && !slices.Contains(p.Formats(), f) {
		return fmt.Errorf("the package is a %s, which is not supported on %s", f, p)
	}
	m, err := s.manager(f)
	if err != nil {
		return err
	}
	return m.usable()
}

// Contents lists the files of a staged package; nothing where that cannot be known.
func (s *System) Contents(ctx context.Context, p Package) (listing.List, error) {
	l, err := listing.Read(ctx, p.File, p.Format, s.Output)
	if err != nil {
		return nil, fmt.Errorf("looking at what the package holds: %w", err)
	}
	return l, nil
}

// Provides says what this host lacks of what a package needs, if anything.
func (s *System) Provides(ctx context.Context, n schema.Needs) error {
	return s.host().Provides(ctx, n)
}

func (s *System) host() ready.Host { return ready.Host{Path: s.Path, List: s.Output, Has: has} }

// has looks for a program where packages' scripts do.
func has(program string) bool {
	_, path, _ := strings.Cut(process.Path, "=")
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
	m, err := s.manager(p.Format)
	if err != nil {
		return nil, err
	}
	if err := m.owns(ctx, p); err != nil {
		return nil, err
	}
	if p.Unpacked == "" {
		f, err := openVerified(p)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if _, ok := m.(unpacker); ok {
			return s.installFile(ctx, p, f)
		}
	}
	host := s.host()
	if p.Format == schema.Deb {
		host.Scripts = dpkgDir + "/tmp.ci"
	}
	if p.Files == nil {
		if p.Files, err = s.Contents(ctx, p); err != nil {
			return nil, err
		}
	}
	files := p.Files
	if p.Unpacked != "" {
		files = slices.Clone(files)
		for i := range files {
			files[i].Size = 0 // it is there
		}
	}
	if err := host.Check(files, p.Format); err != nil {
		return nil, err
	}
	if err := reaches(s, p.Files); err != nil {
		return nil, err
	}
	return m.install(ctx, p)
}

// Unpack unpacks a package that is not a file, but whose bytes assemble writes, so that Install only has to switch to
// it. It sets p's Unpacked and Files. Nothing that runs is touched; if it fails, nothing is left.
func (s *System) Unpack(ctx context.Context, p *Package, assemble func(io.Writer) error) error {
	m, err := s.manager(p.Format)
	if err != nil {
		return err
	}
	u, ok := m.(unpacker)
	if !ok {
		return fmt.Errorf("a %s is not unpacked here", p.Format)
	}
	if err := s.host().Check(listing.List{{Path: program}}, p.Format); err != nil {
		return err
	}
	return u.unpack(ctx, p, assemble)
}

// Discard removes what was unpacked, unless it is what runs.
func (s *System) Discard(p Package) error {
	m, err := s.manager(p.Format)
	if u, ok := m.(unpacker); ok && err == nil {
		return u.discard(p)
	}
	return err
}

// installFile installs a package that is unpacked, and is a file.
func (s *System) installFile(ctx context.Context, p Package, f io.Reader) (Revert, error) {
	err := s.Unpack(ctx, &p, func(w io.Writer) error { _, err := io.Copy(w, f); return err })
	if err != nil {
		return nil, err
	}
	revert, err := s.Install(ctx, p)
	if err != nil {
		return nil, errors.Join(err, s.Discard(p))
	}
	return revert, nil
}

// Reaches refuses files that lie in a folder to which somebody else than root may have led: whoever puts a package's
// files there, or removes them, follows the links on the way.
func (s *System) Reaches(files listing.List) error {
	host, err := walk.At(s.Root)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, f := range files {
		dir := filepath.Dir(host.Path(f.Path))
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if _, err := host.Resolve(ready.Existing(dir)); errors.As(err, new(*walk.LedError)) {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

// dpkgDir is where dpkg has its database.
const dpkgDir = "/var/lib/dpkg"

// program is where packages have the updater.
var program = schema.ProgramFile(runtime.GOOS)

// openVerified digests the staged file at the last moment and returns it rewound.
func openVerified(p Package) (*os.File, error) {
	f, err := openStaged(p.File)
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
