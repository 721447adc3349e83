package units

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bakehouse/agent/install/machine"
	"bakehouse/agent/process"
	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// stoppedFile lists the units that somebody stopped, or that do not start at boot any more though the package would
// have it so: a line each of UNIT and "stopped" or "disabled". It is there while an installation is under way, for the
// package's scripts and the health checks, so that a second attempt, and the way back, find what was so before the
// first.
var stoppedFile = schema.StateDir(runtime.GOOS) + "/stopped"

// Keep looks for such units and writes stoppedFile, which Forget removes. It returns what it wrote down.
func Keep(ctx context.Context, s *machine.System) ([]string, error) {
	if s.Sandboxed() || !systemdRuns() {
		return nil, nil
	}
	record, err := os.ReadFile(s.Path(filepath.Join(schema.StateDir(runtime.GOOS), "units")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Forget(s)
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, u := range parseUnits(record) {
		if u.state == "enable" {
			names = append(names, u.name)
		}
	}
	if len(names) == 0 {
		return nil, Forget(s)
	}
	out, err := s.Command(ctx, nil, "systemctl",
		append([]string{"show", "--property=Id,LoadState,ActiveState,Job"}, names...)...)
	if err != nil {
		return nil, fmt.Errorf("asking systemd for the package's services: %w: %s", err, process.Tail(out))
	}
	lines := stoppedUnits(string(out))
	for _, name := range names {
		wanted, err := filepath.Glob(s.Path(filepath.Join(adminUnits, "*.wants", name)))
		if err == nil && len(wanted) == 0 {
			lines = append(lines, name+" disabled")
		}
	}
	if len(lines) == 0 {
		return nil, Forget(s)
	}
	slices.Sort(lines)
	return lines, durable.WriteFile(s.Path(stoppedFile), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// Forget is that no installation is under way.
func Forget(s *machine.System) error {
	if err := durable.Remove(s.Path(stoppedFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// stoppedUnits reads what `systemctl show` says: a unit that somebody stopped is inactive, which one that ended by
// itself or failed is not, as systemd starts it again; a masked one does not run either.
func stoppedUnits(shown string) (lines []string) {
	for unit := range strings.SplitSeq(shown, "\n\n") {
		is := map[string]string{}
		for line := range strings.Lines(unit) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			is[name] = value
		}
		if is["LoadState"] == "masked" || is["LoadState"] == "loaded" && is["ActiveState"] == "inactive" &&
			is["Job"] == "" { // none waits to start it, as while the system boots
			lines = append(lines, is["Id"]+" stopped")
		}
	}
	return lines
}

// Stopped is what is kept of each unit: "stopped", "disabled".
func Stopped(s *machine.System) map[string][]string {
	b, err := os.ReadFile(s.Path(stoppedFile))
	if err != nil {
		return nil
	}
	is := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		unit, how, _ := strings.Cut(strings.TrimSpace(line), " ")
		is[unit] = append(is[unit], how)
	}
	return is
}
