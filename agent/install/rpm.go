package install

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"bakehouse/agent/install/machine"
	"bakehouse/agent/process"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

const (
	rpmLimit = 30 * time.Minute       // a hung scriptlet must not block updates for good
	rpmRetry = 500 * time.Millisecond // between two looks at rpm's lock
)

// installRpm runs rpm on the staged file: an upgrade, a downgrade or the same once more, whichever it is. A run that was
// killed may leave two versions in rpm's database; the next one, of whichever package, erases the other. It waits for rpm's
// lock at most for wait.
func (s *System) installRpm(ctx context.Context, p Package, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, rpmLimit)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	// The updater has verified the package, by more than a signature inside of it, which it has not: where the host's
	// policy wants one of each package, this one needs its digests alone.
	out, err := s.rpmWaiting(ctx, wait, "--define", "_pkgverify_level digest", "--upgrade", "--oldpackage",
		"--replacepkgs", p.File)
	if err == nil {
		err = rpmScripts(out)
	}
	if err == nil {
		return s.verifyRpm(ctx, p)
	}
	reason := rpmReason(out)
	hung := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if hung {
		err = fmt.Errorf("stopped after %s", rpmLimit)
	}
	err = fault.Hint(fmt.Errorf("rpm failed (%w): %s", err, reason), "the last lines of its output:\n%s",
		process.Tail(out))
	if rpmRefused(out) || rpmLocked(out) {
		return err
	}
	if m := rpmScript.FindSubmatch(out); hung || m != nil && string(m[1]) != strconv.Itoa(machine.NotReady) {
		err = &machine.ReleaseError{Err: err}
	}
	return &machine.TouchedError{Err: err}
}

// rpmScript finds what rpm says when a script has failed by its exit status, and not by a signal.
var rpmScript = regexp.MustCompile(`%(?:pretrans|pre|post|posttrans)\(\S+\) scriptlet failed, exit status (\d+)`)

// rpmWaiting runs rpm, which does not wait for its lock when it has no terminal: it is run again until the lock is free, at
// most for wait.
func (s *System) rpmWaiting(ctx context.Context, wait time.Duration, args ...string) ([]byte, error) {
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		out, err := s.rpm(ctx, args...)
		if err == nil || !rpmLocked(out) {
			return out, err
		}
		select {
		case <-time.After(rpmRetry):
		case <-end.C:
			return out, fmt.Errorf("rpm is locked by another program, after waiting for %s: %w", wait, err)
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
}

// rpm runs rpm without terminal and questions, and returns what it printed.
func (s *System) rpm(ctx context.Context, args ...string) ([]byte, error) {
	if s.Sandboxed() {
		args = append([]string{"--root=" + s.Root}, args...)
	}
	return s.Command(ctx, nil, "rpm", args...)
}

// verifyRpm asks rpm whether the package is the only one of its name, and whether its files are there as it holds them.
// Below /etc and in their modes and owners files may differ: scripts may have changed those.
func (s *System) verifyRpm(ctx context.Context, p Package) error {
	out, err := s.rpm(ctx, "--query", "--queryformat", "%{VERSION}-%{RELEASE}\n", p.Name)
	if got := strings.Fields(string(out)); err != nil || len(got) != 1 || got[0] != p.Version {
		return &machine.TouchedError{Err: fault.Hint(
			fmt.Errorf("rpm installed %s %s, but now reports %q", p.Name, p.Version, got),
			"see `rpm -q %s`", p.Name)}
	}
	out, err = s.rpm(ctx, "--verify", "--nodeps", "--noscripts", p.Name)
	if err == nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); rpmDiffers(f) {
			return &machine.TouchedError{Err: fault.Hint(
				fmt.Errorf("rpm installed %s %s, but %s differs from the package",
					p.Name, p.Version, f[len(f)-1]),
				"`rpm -V %s` reports:\n%s", p.Name, process.Tail(out))}
		}
	}
	return nil
}

// rpmDiffers reads a line of `rpm --verify`: "missing", or a letter per test that failed (S size, 5 digest), then maybe a letter
// for the kind of file, and its path.
func rpmDiffers(f []string) bool {
	if len(f) < 2 || strings.HasPrefix(f[len(f)-1], "/etc/") {
		return false
	}
	return f[0] == "missing" || len(f[0]) == 9 && (f[0][0] == 'S' || f[0][2] == '5')
}

// rpmScripts says if a script failed after the files were in place: rpm mentions it and is content.
func rpmScripts(out []byte) error {
	if strings.Contains(string(out), "scriptlet failed") {
		return errors.New("a script failed")
	}
	return nil
}

func rpmLocked(out []byte) bool { return strings.Contains(string(out), "transaction lock") }

// rpmRefused reports whether rpm found a reason to do nothing before it did anything.
func rpmRefused(out []byte) bool {
	for _, s := range []string{"Failed dependencies", "conflicts with file from", "conflicts with attempted install", "does not verify",
		"is intended for a different", "not an rpm package", "needs root privileges"} {
		if strings.Contains(string(out), s) {
			return true
		}
	}
	return false
}

// rpmReason finds the line that says what went wrong, which may be the one below its heading.
func rpmReason(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, l := range lines {
		l, isError := strings.CutPrefix(strings.TrimSpace(l), "error: ")
		switch {
		case isError && strings.HasSuffix(l, ":") && i+1 < len(lines):
			return l + " " + strings.TrimSpace(lines[i+1])
		case isError:
			return l
		case strings.Contains(l, "scriptlet failed"), strings.Contains(l, "conflicts with file from"),
			strings.Contains(l, "is intended for a different"):
			return strings.TrimPrefix(l, "warning: ")
		}
	}
	return lines[len(lines)-1]
}

func (rpm) format() schema.Format { return schema.Rpm }

func (rpm) usable() error { return needsProgram("rpm", "rpm") }

func (m rpm) owns(ctx context.Context, p Package) error {
	_, err := m.Command(ctx, nil, "dpkg-query", "--admindir="+m.Path(dpkgDir), "--search", program)
	return foreignOwner(err == nil, p.Format, schema.Deb)
}

func (m rpm) install(ctx context.Context, p Package) (Revert, error) {
	return nil, m.installRpm(ctx, p, lockWait)
}

func (m rpm) version(ctx context.Context, p Package) (string, error) {
	out, err := m.rpm(ctx, "--query", "--queryformat", "%{VERSION}-%{RELEASE}\n", p.Name)
	var ended *exec.ExitError
	if errors.As(err, &ended) && strings.Contains(string(out), "is not installed") {
		return "", nil
	}
	return strings.Join(strings.Fields(string(out)), " and "), err
}

// The database's files, of each of its kinds.
func (m rpm) witnesses(Package) (all []string) {
	for _, dir := range []string{"/var/lib/rpm", "/usr/lib/sysimage/rpm"} {
		for _, name := range []string{"rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages", "Packages.db"} {
			all = append(all, m.Path(dir+"/"+name))
		}
	}
	return all
}

func (m rpm) locate() func(string) string { return m.Path }
