package detached

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"bakehouse/agent/hostpath"
	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// unit is the name of the update's own service. It is there while an update is under way.
const unit = "bakehouse-updater"

// AsService is the flag of a program that the service manager starts.
const AsService = "--service"

// Update returns what runs program with args in a service of its own, on a copy of it, so that the installer may stop
// the service that waits for it, and replace its file; nil if this is no service, or the root a sandbox. A failure
// names log, the updater's log file. That service has the proxies of our environment. A stop is for the updater alone:
// an installation comes to its end.
func Update(root, log, program string, args ...string) func(context.Context) error {
	if root != "" || !inService() {
		return nil
	}
	return func(ctx context.Context) error {
		code, err := runCopy(ctx, program, append(args, AsService))
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d", code)
		}
		if err != nil {
			return fmt.Errorf("%s failed: %w (see %s)", unit, err, log)
		}
		return nil
	}
}

func inService() bool {
	for _, arg := range os.Args[1:] {
		if arg == AsService {
			return true
		}
	}
	return false
}

// runCopy runs a copy of program as a service, and returns its exit code.
func runCopy(ctx context.Context, program string, args []string) (code uint32, err error) {
	copied, err := copyOf(program)
	if err != nil {
		return 0, err
	}
	m, err := mgr.Connect()
	if err != nil {
		return 0, fmt.Errorf("service manager: %w", err)
	}
	defer m.Disconnect()
	if err := discard(ctx, m); err != nil {
		return 0, err
	}
	// It starts by itself at a boot that comes too early: an installation that was cut off may have left nothing else.
	s, err := m.CreateService(unit, copied, mgr.Config{StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal,
		DisplayName: "Bakehouse updater", Description: "Update of this host's monitoring agent"}, args...)
	if err != nil {
		return 0, fmt.Errorf("create the service: %w", err)
	}
	defer s.Close()
	again := mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: time.Minute}
	if err := s.SetRecoveryActions([]mgr.RecoveryAction{again, again}, 24*60*60); err != nil {
		return 0, fmt.Errorf("have the service started again: %w", err)
	}
	if err := environ(variables()); err != nil {
		return 0, err
	}
	if err := s.Start(); err != nil {
		return 0, fmt.Errorf("start the service: %w", err)
	}
	for {
		st, err := s.Query()
		switch {
		case err != nil:
			return 0, err
		case st.State != svc.Stopped:
		case st.Win32ExitCode == uint32(windows.ERROR_SERVICE_SPECIFIC_ERROR):
			return st.ServiceSpecificExitCode, remove(s)
		default:
			return st.Win32ExitCode, remove(s)
		}
		// When our own service stops, only the waiting ends; the update goes on.
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// discard waits for an update that is under way, and removes its service, which one that was cut off leaves.
func discard(ctx context.Context, m *mgr.Mgr) error {
	for {
		s, err := m.OpenService(unit)
		if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
			return nil
		}
		if err == nil {
			st, qerr := s.Query()
			if qerr == nil && st.State == svc.Stopped {
				err = s.Delete()
			}
			s.Close()
		}
		if err != nil && !errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) {
			return fmt.Errorf("the service of an earlier update: %w", err)
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

// remove removes a service that has ended, unless it has done so itself.
func remove(s *mgr.Service) error {
	if err := s.Delete(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) {
		return fmt.Errorf("remove the service: %w", err)
	}
	return nil
}

// Discard removes the updater's service, as soon as it has ended: an update may have removed who waits for it.
func Discard() {
	m, err := mgr.Connect()
	if err != nil {
		return
	}
	defer m.Disconnect()
	if s, err := m.OpenService(unit); err == nil {
		_ = s.Delete()
		s.Close()
	}
}

// environ adds variables to what the service will have.
func environ(set []string) error {
	if len(set) == 0 {
		return nil
	}
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Services\`+unit, registry.SET_VALUE)
	if err != nil {
		return fmt.Errorf("the service's environment: %w", err)
	}
	defer key.Close()
	return key.SetStringsValue("Environment", set)
}

// copyOf puts a copy of a program into the updater's own directory, and removes those of other programs.
func copyOf(program string) (string, error) {
	f, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	dir := hostpath.On("", schema.StateDir(runtime.GOOS)+"/updater")
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name := "bakehouse-agent-" + hex.EncodeToString(sum.Sum(nil)[:4]) + ".exe"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Name() != name {
			_ = os.Remove(filepath.Join(dir, e.Name())) // one that runs stays
		}
	}
	to := filepath.Join(dir, name)
	if same(to, sum.Sum(nil)) {
		return to, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return to, durable.Disk{}.WriteFrom(to, f, 0o700)
}

// same reports whether a file has a digest: what somebody altered is not run.
func same(file string, digest []byte) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return err == nil && string(sum.Sum(nil)) == string(digest)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Program is this program's file.
func Program() (string, error) { return os.Executable() }

// Restart says that this program has to be started again: it cannot become another one here.
func Restart(program string) error {
	return fmt.Errorf("%s was replaced by an update: start %s again", program,
		strings.TrimSuffix(filepath.Base(program), ".exe"))
}
