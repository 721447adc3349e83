package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"bakehouse/agent/install/machine"
	"bakehouse/agent/process"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

const (
	dpkgLog   = "/var/log/dpkg.log"
	dpkgLimit = 30 * time.Minute // a hung maintainer script must not block updates for good
	lockWait  = 5 * time.Minute  // apt holds the lock for as long as it installs
)

// installDeb runs dpkg on the staged file. dpkg itself does not wait for its lock, so we take the frontend lock as apt
// does and tell dpkg that we hold it. A package that a killed run left half-configured is configured again, or replaced
// by whichever package is installed next.
func (s *System) installDeb(ctx context.Context, p Package) error {
	if s.Sandboxed() {
		if err := s.prepareAdmin(); err != nil {
			return err
		}
	}
	lock, err := s.lockDpkg(ctx, lockWait)
	if err != nil {
		return err
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(ctx, dpkgLimit)
	defer cancel()
	if err := s.dpkgFollows(p); err != nil {
		return err
	}
	// What packages are missing or in conflict is found without touching anything.
	if err := s.host().Depends(ctx, p.File, s.Path(dpkgDir)); err != nil {
		return err
	}
	if out, err := s.dpkg(ctx, "--no-act", "--install", p.File); err != nil {
		return fault.Hint(fmt.Errorf("dpkg would fail (%w): %s", err, dpkgReason(out)),
			"the last lines of its output:\n%s", process.Tail(out))
	}
	out, err := s.dpkg(ctx, "--force-confdef", "--force-confold", "--install", p.File)
	if err == nil {
		return nil
	}
	return s.dpkgFailed(ctx, p, out, err)
}

// dpkg runs dpkg without terminal and questions, and returns the end of what it printed, which also goes to the log.
func (s *System) dpkg(ctx context.Context, args ...string) ([]byte, error) {
	if s.Sandboxed() {
		args = append([]string{"--root=" + s.Root, "--log=" + s.Path(dpkgLog)}, args...)
		if os.Geteuid() != 0 {
			args = append([]string{"--force-not-root"}, args...)
		}
	}
	return s.Command(ctx, []string{"DEBIAN_FRONTEND=noninteractive", "DPKG_FRONTEND_LOCKED=1"}, "dpkg", args...)
}

// dpkgStatus is what dpkg's database says of a package; empty if it knows none.
func (s *System) dpkgStatus(ctx context.Context, name string) (status, version string, err error) {
	out, err := s.Command(ctx, nil, "dpkg-query", "--admindir="+s.Path(dpkgDir), "--show",
		"--showformat=${db:Status-Status} ${Version}", name)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == 1 {
		return "", "", nil
	}
	status, version, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	return status, version, err
}

// ownScript finds what dpkg says when a script of the new package has failed: of its exit status, not of a signal,
// which comes from whoever stops the system.
var ownScript = regexp.MustCompile(`(new|installed) (\S+) package (pre|post)-installation script subprocess returned ` +
	`error exit status (\d+)`)

// dpkgFailed says what a failure of dpkg means for the package. What dpkg says of this package decides, not its exit
// code: another package's trigger may have failed.
func (s *System) dpkgFailed(ctx context.Context, p Package, out []byte, err error) error {
	status, version, _ := s.dpkgStatus(context.WithoutCancel(ctx), p.Name)
	if status == "installed" && version == p.Version &&
		bytes.Contains(out, fmt.Appendf(nil, "Setting up %s (%s)", p.Name, p.Version)) {
		s.Warn("dpkg failed, but not with the package of the fleet, which is installed", "error", err,
			"output", process.Tail(out))
		return nil
	}
	hung := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if hung {
		err = fmt.Errorf("stopped after %s", dpkgLimit)
	}
	reason := dpkgReason(out)
	err = fault.Hint(fmt.Errorf("dpkg failed (%w): %s", err, reason), "the last lines of its output:\n%s",
		process.Tail(out))
	m := ownScript.FindSubmatch(out)
	if hung || m != nil && string(m[2]) == p.Name && string(m[4]) != strconv.Itoa(machine.NotReady) {
		err = &machine.ReleaseError{Err: err}
	}
	if status == "installed" && m == nil && !hung || strings.Contains(reason, "locked by another process") {
		return err // what was installed is there as before
	}
	return &machine.TouchedError{Err: err}
}

// prepareAdmin makes the least database that dpkg needs in a fresh sandbox.
func (s *System) prepareAdmin() error {
	dirs := []string{filepath.Dir(dpkgLog)}
	for _, d := range []string{"info", "updates", "triggers", "parts", "alternatives"} {
		dirs = append(dirs, filepath.Join(dpkgDir, d))
	}
	for _, d := range dirs {
		if err := durable.MkdirAll(s.Path(d), 0o755); err != nil {
			return err
		}
	}
	for _, f := range []string{"status", "available"} {
		err := durable.Create(s.Path(filepath.Join(dpkgDir, f)), bytes.NewReader(nil), 0o644)
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// dpkgReason finds the line that says what went wrong: dpkg prints it before its summary of failed packages.
func dpkgReason(out []byte) string {
	var reason string
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, l := range lines {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "dpkg: error processing") && i+1 < len(lines):
			return strings.TrimSpace(lines[i+1])
		case strings.HasPrefix(l, "dpkg: error: "):
			return strings.TrimPrefix(l, "dpkg: error: ")
		case strings.Contains(l, "subprocess returned error") || strings.HasPrefix(l, "dpkg: "):
			reason = l
		}
	}
	if reason == "" {
		return lines[len(lines)-1]
	}
	return reason
}

func (dpkg) format() schema.Format { return schema.Deb }

func (dpkg) usable() error { return needsProgram("dpkg", "deb") }

func (m dpkg) owns(ctx context.Context, p Package) error {
	_, err := m.rpm(ctx, "--query", "--file", program)
	return foreignOwner(err == nil, p.Format, schema.Rpm)
}

func (m dpkg) install(ctx context.Context, p Package) (Revert, error) {
	return nil, m.installDeb(ctx, p)
}

func (m dpkg) version(ctx context.Context, p Package) (string, error) {
	status, version, err := m.dpkgStatus(ctx, p.Name)
	switch status {
	case "installed", "triggers-pending", "triggers-awaited":
		return version, err
	case "", "not-installed", "config-files":
		return "", err
	}
	return fmt.Sprintf("%s (%s)", version, status), err
}

func (m dpkg) witnesses(p Package) []string {
	return []string{m.Path(dpkgDir + "/info/" + p.Name + ".list")}
}

func (m dpkg) locate() func(string) string { return m.Path }
