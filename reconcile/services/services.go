// Package services renders the services and intervals of plugins for what starts them where systemd is not: launchd on macOS
// and SMF on Solaris; and for Windows, where tables of the package name them.
//
// A plugin says in systemd's words what it runs. What a system has no word for is an error that says so, never left out in
// silence: reconcile/rules makes a warning of it, and reconcile/bake packs what is left. Beside its manifests a package
// carries shell (Shell) that has the manager take them up: the updater runs it, or the package manager's scripts do. None of
// this has met a real macOS or Solaris yet.
package services

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Unit is a file that makes a manager start something.
type Unit struct {
	Name string // as schema.UnitsFile lists it, and the manager knows it
	Path string
	Text string
}

// manager is what starts services on a system.
type manager struct {
	service  func(name, plugin string, s fleet.Service, command string) (Unit, error)
	interval func(name, plugin string, i fleet.Interval, command string) (Unit, error)
	shell    string
}

func managerOf(os string) (*manager, error) {
	switch os {
	case "darwin":
		return &manager{launchdService, launchdInterval, launchdShell}, nil
	case "solaris":
		return &manager{smfService, nil, smfShell}, nil
	case "windows":
		return &manager{}, nil // tables of the package say it
	}
	return nil, fmt.Errorf("services are not made for %s", os)
}

// Made reports whether packages of an operating system bring services, systemd's aside.
func Made(os string) bool { _, err := managerOf(os); return err == nil }

// Service renders a service for an operating system. The error says what cannot be said there.
func Service(os, plugin string, s fleet.Service) (Unit, error) {
	m, err := managerOf(os)
	if err != nil {
		return Unit{}, err
	}
	if os == "windows" {
		w, err := Windows(s)
		return Unit{Name: w.Name}, err
	}
	setup, command, err := commandOf(s.Name, s.Exec, s.EnvironmentFile)
	switch {
	case err != nil:
	case s.Directories != fleet.Directories{}:
		err = errors.New("directories are made by systemd only")
	case s.ListenUser != "":
		err = errors.New("who may connect to a Unix socket (listenUser) is seen to by systemd only")
	case len(s.Allow) > 0:
		err = errors.New("who may connect (allow) is seen to by systemd only")
	}
	if err != nil {
		return Unit{}, err
	}
	return m.service(s.Name, plugin, s, setup+"exec "+command)
}

// Interval renders an interval for an operating system. The error says what cannot be said there.
func Interval(os, plugin string, i fleet.Interval) (Unit, error) {
	m, err := managerOf(os)
	if err != nil {
		return Unit{}, err
	}
	if m.interval == nil { // SMF's periodic services are not in every Solaris
		return Unit{}, fmt.Errorf("intervals are not made for %s", os)
	}
	setup, command, err := commandOf(i.Name, i.Exec, i.EnvironmentFile)
	switch {
	case err != nil:
	case i.Timeout > 0:
		err = errors.New("a timeout is seen to by systemd only")
	case i.Output != "" && i.User != "" && i.User != "root":
		err = errors.New("output is kept for root only")
	}
	if err != nil {
		return Unit{}, err
	}
	if i.Output == "" {
		return m.interval(i.Name, plugin, i, setup+"exec "+command)
	}
	return m.interval(i.Name, plugin, i, fmt.Sprintf("%sumask 022; mkdir -p %s && %s >%s && mv -f %[4]s %[5]s",
		setup, quote(path.Dir(i.Output)), command, quote(i.Output+".new"), quote(i.Output)))
}

// commandOf is a command line for sh, and what sh does before: it reads the environment file.
func commandOf(name, exec, environment string) (setup, command string, err error) {
	if err := schema.CheckName(name); err != nil {
		return "", "", err
	}
	if environment != "" {
		// systemd parts the value of $NAME into words, but takes none of them for the names of files.
		setup = fmt.Sprintf("set -a; . %s; set +a; set -f; ", quote(environment))
	}
	command, err = shellCommand(exec)
	return setup, command, err
}

//go:embed scripts/services.sh
var commonShell string

// Shell is functions for a package's scripts: services has the manager start what schema.UnitsFile lists, and stop what it
// does no longer; noservices stops all. Both do nothing where $DPKG_ROOT names a sandbox. Empty if services are not made.
func Shell(os, unitsFile string) string {
	m, err := managerOf(os)
	if err != nil {
		return ""
	}
	return strings.NewReplacer("@UNITS@", unitsFile, "@STATE@", schema.StateDir(os), "@OWN@", own,
		"@MANIFESTS@", launchdDir).Replace(m.shell + commonShell)
}

// own is the updater's service.
const own = fleet.PackageName

// stopLimit is how long a service may take to stop, in seconds: the updater first ends what it does to the system.
func stopLimit(plugin string) int {
	if plugin == fleet.UpdaterPlugin {
		return 1800
	}
	return 60
}

func seconds(d schema.Duration) int64 { return int64(time.Duration(d) / time.Second) }

// text is a value as XML has it.
func text(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		panic(err) // a bytes.Buffer does not fail
	}
	return b.String()
}
