// Package units does for the services of a version under systemd what a deb's postinst does, and remembers what an
// administrator stopped while anything is installed.
package units

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bakehouse/agent/install/machine"
	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// unit is a line of schema.UnitsFile: a service, socket or timer of the package. Inputs has what it is restarted for.
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

// Sync does for a version what a deb's postinst does, and keeps the same record of what it did: a unit that changed
// since is restarted, one that is gone is stopped. Nothing waits for a service: how they are is the health checks'
// matter. It returns the record as it was. In a sandbox and without systemd there is nothing to do.
func Sync(ctx context.Context, s *machine.System, list []byte) (before []byte, err error) {
	if s.Sandboxed() || !systemdRuns() {
		return nil, nil
	}
	record := s.Path(filepath.Join(schema.StateDir(runtime.GOOS), "units"))
	before, _ = os.ReadFile(record)
	had, want := parseUnits(before), parseUnits(list)
	if len(had)+len(want) == 0 {
		return before, nil
	}
	ctl := func(args ...string) { s.Command(ctx, nil, "systemctl", append([]string{"--quiet"}, args...)...) }
	gone := slices.DeleteFunc(slices.Clone(had), func(u unit) bool {
		return slices.ContainsFunc(want, func(w unit) bool { return w.name == u.name })
	})
	for _, u := range gone {
		u.state = "disable"
		setWanted(s, u)
	}
	is := Stopped(s)
	for _, u := range want {
		if u.state == "disable" || !slices.Contains(is[u.name], "disabled") {
			setWanted(s, u)
		}
	}
	// Stopped before systemd sees that their files are gone: a timer without what it triggers counts as failed.
	for _, u := range gone {
		if strings.HasSuffix(u.name, ".service") {
			ctl("--no-block", "stop", u.name)
		} else { // which takes no time
			ctl("stop", u.name)
		}
	}
	ctl("daemon-reload")
	for _, u := range want {
		noteHidden(s, u.name)
	}
	for _, u := range want {
		if slices.Contains(is[u.name], "stopped") {
			s.Warn("a service was stopped by an administrator and stays so", "unit", u.name)
			continue
		}
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

// Where systemd looks for units, and where packages have them.
const (
	adminUnits   = "/etc/systemd/system"
	packageUnits = "/usr/lib/systemd/system"
)

// noteHidden says so if a unit is not in force as the package has it, because systemd finds another one first.
func noteHidden(s *machine.System, unit string) {
	for _, dir := range []string{adminUnits, "/run/systemd/system", "/usr/local/lib/systemd/system"} {
		file := s.Path(filepath.Join(dir, unit))
		if to, err := os.Readlink(file); err == nil && to == os.DevNull {
			s.Warn("a unit of the package is masked: it does not run", "unit", unit, "link", file)
			return
		}
		if _, err := os.Stat(file); err == nil {
			s.Warn("a unit of the package is not in force, another one of its name is", "unit", unit, "file", file)
			return
		}
	}
}

// setWanted has systemd start a unit at boot, or not. `systemctl enable` would do more: where packages have a link to
// the version in use, it makes links into that very version, which lead nowhere when it is pruned, and then systemd
// finds no such unit. Where an earlier updater called it, that link goes.
func setWanted(s *machine.System, u unit) {
	target := "multi-user"
	switch filepath.Ext(u.name) {
	case ".socket":
		target = "sockets"
	case ".timer":
		target = "timers"
	}
	own := s.Path(filepath.Join(adminUnits, u.name))
	if to, err := os.Readlink(own); err == nil && strings.HasPrefix(to, s.Path(schema.VersionDir)+"/") {
		err = durable.Remove(own)
		s.Debug("removed a link into a version", "link", own, "error", err)
	}
	link := s.Path(filepath.Join(adminUnits, target+".target.wants", u.name))
	var err error
	if u.state == "enable" {
		if err = durable.MkdirAll(filepath.Dir(link), 0o755); err == nil {
			err = durable.Symlink(filepath.Join(packageUnits, u.name), link)
		}
	} else if err = durable.Remove(link); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		s.Debug("could not set what starts at boot", "unit", u.name, "error", err)
	}
}

func systemdRuns() bool {
	fi, err := os.Stat("/run/systemd/system")
	return err == nil && fi.IsDir()
}
