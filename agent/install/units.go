package install

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// unit is a line of schema.UnitsFile: a service, socket or timer of the package. What it is to be restarted for stands in inputs.
type unit struct{ name, inputs, state string }

func parseUnits(b []byte) []unit {
	var units []unit
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && filepath.IsLocal(f[0]) && !strings.ContainsAny(f[0], "/") && !strings.HasPrefix(f[0], "-") &&
			(f[2] == "enable" || f[2] == "disable") {
			units = append(units, unit{f[0], f[1], f[2]})
		}
	}
	return units
}

// syncUnits does for a version what a deb's postinst does, and keeps the same record of what it did: a unit that changed
// since is restarted, one that is gone is stopped. Nothing waits for a service: how they are is the health checks'
// matter. It returns the record as it was. In a sandbox and without systemd there is nothing to do.
func (s *System) syncUnits(ctx context.Context, list []byte) (before []byte, err error) {
	if s.sandboxed() || !systemdRuns() {
		return nil, nil
	}
	record := s.path(filepath.Join(schema.StateDir, "units"))
	before, _ = os.ReadFile(record)
	had, want := parseUnits(before), parseUnits(list)
	if len(had)+len(want) == 0 {
		return before, nil
	}
	ctl := func(args ...string) { s.command(ctx, nil, "systemctl", append([]string{"--quiet"}, args...)...) }
	ctl("daemon-reload")
	for _, u := range had {
		if !slices.ContainsFunc(want, func(w unit) bool { return w.name == u.name }) {
			ctl("--no-block", "stop", u.name)
			for _, target := range []string{"multi-user", "sockets", "timers"} {
				os.Remove(filepath.Join("/etc/systemd/system", target+".target.wants", u.name))
			}
		}
	}
	for _, u := range want {
		ctl("--no-reload", u.state, u.name)
		switch same := slices.Contains(had, u); {
		case same && u.state == "enable":
			ctl("--no-block", "start", u.name)
		case same:
		case u.state == "enable":
			ctl("--no-block", "restart", u.name)
		default:
			ctl("--no-block", "try-restart", u.name)
		}
	}
	return before, durable.WriteFile(record, list, 0o600)
}

func systemdRuns() bool {
	fi, err := os.Stat("/run/systemd/system")
	return err == nil && fi.IsDir()
}
