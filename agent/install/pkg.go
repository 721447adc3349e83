package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bakehouse/agent/install/machine"
	"bakehouse/agent/process"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

const pkgLimit = 30 * time.Minute // a hung script must not block updates for good

// pkgAdmin keeps pkgadd from asking anything (admin(4)): a package is put over what has its name, whatever version
// that is and however an earlier run ended. What would write over another package's files, or finds no space, ends it.
const pkgAdmin = `mail=
instance=overwrite
partial=nocheck
runlevel=nocheck
idepend=quit
rdepend=nocheck
space=quit
setuid=nocheck
conflict=quit
action=nocheck
networktimeout=60
networkretries=1
authentication=quit
basedir=default
`

// installPkg runs pkgadd on the staged datastream. Going back is pkgadd with the datastream of before.
//
// It was written from manual pages and has met no pkgadd yet.
func (s *System) installPkg(ctx context.Context, p Package) error {
	ctx, cancel := context.WithTimeout(ctx, pkgLimit)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	admin := p.File + ".admin"
	if err := os.WriteFile(admin, []byte(pkgAdmin), 0o600); err != nil {
		return err
	}
	defer os.Remove(admin)
	out, err := s.pkgTool(ctx, "pkgadd", "-n", "-a", admin, "-d", p.File, p.Name)
	var ended *exec.ExitError
	if errors.As(err, &ended) && slices.Contains([]int{2, 10, 20}, ended.ExitCode()) {
		err = nil // a warning, or the wish for a reboot: what is there now decides
	}
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("stopped after %s", pkgLimit)
		}
		return &machine.TouchedError{Err: fault.Hint(fmt.Errorf("pkgadd failed (%w): %s", err, pkgReason(out)),
			"the last lines of its output:\n%s", process.Tail(out))}
	}
	return s.verifyPkg(ctx, p)
}

// pkgTool runs one of the package tools, which take a root alike.
func (s *System) pkgTool(ctx context.Context, name string, args ...string) ([]byte, error) {
	if s.Sandboxed() {
		args = append([]string{"-R", s.Root}, args...)
	}
	return s.Command(ctx, nil, name, args...)
}

// verifyPkg asks what is installed, and whether its files hold what they should. Below /etc they may differ: scripts
// may have changed those.
func (s *System) verifyPkg(ctx context.Context, p Package) error {
	out, err := s.pkgTool(ctx, "pkgparam", p.Name, "VERSION")
	if got := strings.TrimSpace(string(out)); err != nil || got != p.Version {
		return &machine.TouchedError{Err: fault.Hint(
			fmt.Errorf("pkgadd installed %s %s, but its state is now %.80q", p.Name, p.Version, got),
			"see `pkginfo -l %s`", p.Name)}
	}
	if out, err = s.pkgTool(ctx, "pkgchk", "-c", "-n", p.Name); err == nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		file, found := strings.CutPrefix(strings.TrimSpace(line), "ERROR: /")
		if found && !strings.HasPrefix(file, "etc/") &&
			!strings.HasPrefix(file, strings.TrimPrefix(filepath.Join(s.Top(), "etc"), "/")+"/") {
			return &machine.TouchedError{Err: fault.Hint(
				fmt.Errorf("pkgadd installed %s %s, but /%s differs from the package",
					p.Name, p.Version, file),
				"`pkgchk %s` reports:\n%s", p.Name, process.Tail(out))}
		}
	}
	return nil
}

// checkPkgOwner refuses to write over what Solaris' package tools installed as another package. Elsewhere there are
// none.
func (s *System) checkPkgOwner(ctx context.Context, p Package) error {
	if _, err := exec.LookPath("pkgchk"); err != nil {
		return nil
	}
	out, _ := s.pkgTool(ctx, "pkgchk", "-l", "-p", program)
	_, by, found := strings.Cut(string(out), "Referenced by the following packages:")
	by, _, _ = strings.Cut(by, "Current status:")
	owners := strings.Fields(by)
	if !found || len(owners) == 0 || p.Format == schema.Pkg && slices.Contains(owners, p.Name) {
		return nil
	}
	return fault.Hint(fmt.Errorf("the package is a %s, but %s on this host came from the package %s", p.Format, program,
		strings.Join(owners, ", ")),
		"set format: \"pkg\" for this host in the fleet's repo, or remove that package "+
			"with pkgrm and install the %s manually", p.Format)
}

// pkgReason finds the line that says what went wrong.
func pkgReason(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, l := range lines {
		for _, by := range []string{"pkgadd: ERROR: ", "pkginstall: ERROR: ", "ERROR: "} {
			if l, ok := strings.CutPrefix(strings.TrimSpace(l), by); ok {
				if strings.HasSuffix(l, ":") && i+1 < len(lines) {
					l += " " + strings.TrimSpace(lines[i+1])
				}
				return l
			}
		}
	}
	return lines[len(lines)-1]
}

func (svr4) format() schema.Format { return schema.Pkg }

func (svr4) usable() error { return needsProgram("pkgadd", "pkg") }

func (m svr4) owns(ctx context.Context, p Package) error { return m.checkPkgOwner(ctx, p) }

func (m svr4) install(ctx context.Context, p Package) (Revert, error) {
	return nil, m.installPkg(ctx, p)
}

func (m svr4) version(ctx context.Context, p Package) (string, error) {
	out, err := m.pkgTool(ctx, "pkgparam", p.Name, "VERSION")
	return strings.TrimSpace(string(out)), err
}

func (m svr4) witnesses(p Package) []string {
	return []string{m.Path("/var/sadm/pkg/" + p.Name + "/pkginfo")}
}

func (m svr4) locate() func(string) string { return m.Path }
