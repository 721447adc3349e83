package bake

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/reconcile/services"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// unitDir is read by systemd with and without a merged /usr (Debian 11 and 12 alike), and is the real folder where it is
// merged, so dpkg sees no alias.
const unitDir = "/usr/lib/systemd/system/"

// unit is a unit of systemd, or a manifest of what starts services elsewhere.
type unit struct {
	plugin, name string // name as schema.UnitsFile has it
	path, text   string
	enable       bool
	inner        bool   // another unit starts it: it is neither enabled nor started by itself
	inputs       string // digest over all that the plugin puts on the host: another one means restart
}

// services renders the services and intervals of a plugin.
func (l *layout) services(o *fleet.Output) error {
	inputs, err := inputsOf(o)
	if err != nil {
		return err
	}
	add := func(name string, units []unit, err error) error {
		if err != nil {
			return fmt.Errorf("service %.80q: %w", name, err)
		}
		for _, u := range units {
			u.plugin, u.inputs = o.Plugin, inputs
			l.units = append(l.units, u)
		}
		return nil
	}
	if os := l.recipe.Platform.OS; os != "linux" {
		l.servicesElsewhere(os, o, inputs)
		return nil
	}
	for _, s := range sortedServices(o) {
		units, err := serviceUnits(o.Plugin, s)
		if err := add(s.Name, units, err); err != nil {
			return err
		}
	}
	for _, i := range sortedIntervals(o) {
		units, err := intervalUnits(o.Plugin, i)
		if err := add(i.Name, units, err); err != nil {
			return err
		}
	}
	return nil
}

// servicesElsewhere renders what a system without systemd can be told. What it cannot, rules have warned of.
func (l *layout) servicesElsewhere(os string, o *fleet.Output, inputs string) {
	add := func(u services.Unit, enable bool, err error) {
		if err == nil {
			l.units = append(l.units, unit{plugin: o.Plugin, name: u.Name, path: u.Path, text: u.Text, enable: enable, inputs: inputs})
		}
	}
	for _, s := range sortedServices(o) {
		u, err := services.Service(os, o.Plugin, s)
		add(u, s.Enable, err)
	}
	for _, i := range sortedIntervals(o) {
		u, err := services.Interval(os, o.Plugin, i)
		add(u, i.Enable, err)
	}
}

func inputsOf(o *fleet.Output) (string, error) {
	h := sha256.New()
	for _, f := range slices.SortedFunc(slices.Values(o.Files), func(a, b fleet.File) int { return cmp.Compare(a.Path, b.Path) }) {
		fmt.Fprintf(h, "%q %o %s\n", f.Path, f.Mode, f.SHA256)
		if f.Owner+f.Group != "" {
			fmt.Fprintf(h, "%q %q\n", f.Owner, f.Group)
		}
		if len(f.Capabilities) > 0 {
			fmt.Fprintf(h, "%q\n", f.Capabilities)
		}
	}
	enc := json.NewEncoder(h)
	b, err := json.Marshal(sortedServices(o))
	h.Write(b)
	for _, i := range sortedIntervals(o) {
		err = errors.Join(err, enc.Encode(i))
	}
	for _, u := range o.Users {
		err = errors.Join(err, enc.Encode(u))
	}
	return schema.Digest(h.Sum(nil)).Short(), err
}

func sortedServices(o *fleet.Output) []fleet.Service {
	return slices.SortedFunc(slices.Values(o.Services), func(a, b fleet.Service) int { return cmp.Compare(a.Name, b.Name) })
}

func sortedIntervals(o *fleet.Output) []fleet.Interval {
	return slices.SortedFunc(slices.Values(o.Intervals), func(a, b fleet.Interval) int { return cmp.Compare(a.Name, b.Name) })
}

// unitText collects a unit. No value gets a line of its own making.
type unitText struct {
	b   strings.Builder
	err error
}

func newUnit(plugin, name, description string) *unitText {
	u := &unitText{}
	u.line("# Baked by Bakehouse from plugin " + plugin + ". The next package replaces it; to change it, use a drop-in.")
	u.line("[Unit]")
	if description == "" {
		description = name + " (Bakehouse plugin " + plugin + ")"
	}
	u.set("Description", strings.ReplaceAll(description, "%", "%%"))
	if err := schema.CheckName(name); err != nil {
		u.err = err
	}
	return u
}

func (u *unitText) line(s string) { u.b.WriteString(s + "\n") }

func (u *unitText) section(name string) { u.line("\n[" + name + "]") }

// set gives a field its value, if it has one.
func (u *unitText) set(field, value string) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) && u.err == nil {
		u.err = fmt.Errorf("control character in %.80q", value)
	}
	if value != "" {
		u.line(field + "=" + value)
	}
}

// run is what services and intervals have in common.
func (u *unitText) run(exec, wrap, environmentFile, user string) {
	if !strings.HasPrefix(exec, "/") && u.err == nil {
		u.err = fmt.Errorf("exec %.80q does not start with an absolute path", exec)
	}
	if environmentFile != "" && !path.IsAbs(environmentFile) && u.err == nil {
		u.err = fmt.Errorf("environment file %.80q is not absolute", environmentFile)
	}
	u.set("EnvironmentFile", environmentFile)
	u.set("ExecStart", wrap+exec)
	u.set("User", user)
}

func (u *unitText) allow(networks []string) {
	if len(networks) > 0 {
		u.set("IPAddressDeny", "any")
		u.set("IPAddressAllow", strings.Join(networks, " "))
	}
}

func (u *unitText) unit(name string, enable, inner bool) (unit, error) {
	return unit{name: name, path: unitDir + name, text: u.b.String(), enable: enable, inner: inner}, u.err
}

// serviceUnits is a service, or with Listen a socket and what is started for each connection.
func serviceUnits(plugin string, s fleet.Service) ([]unit, error) {
	u := newUnit(plugin, s.Name, s.Description)
	if len(s.Listen) > 0 {
		return connectionUnits(plugin, s, u)
	}
	u.set("Wants", "network-online.target")
	u.set("After", "network-online.target")
	if s.Restart == "always" {
		u.set("StartLimitIntervalSec", "0") // or a few restarts by hand would leave it off; RestartSec paces it
	}
	u.section("Service")
	u.run(s.Exec, "", s.EnvironmentFile, s.User)
	u.set("Restart", s.Restart)
	if s.Restart != "" && s.Restart != "no" {
		u.set("RestartSec", "5s")
	}
	u.set("RuntimeDirectory", s.Directories.Run)
	u.set("StateDirectory", s.Directories.State)
	u.set("CacheDirectory", s.Directories.Cache)
	u.set("LogsDirectory", s.Directories.Logs)
	u.allow(s.Allow)
	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	one, err := u.unit(s.Name+".service", s.Enable, false)
	return []unit{one}, err
}

func connectionUnits(plugin string, s fleet.Service, u *unitText) ([]unit, error) {
	u.set("CollectMode", "inactive-or-failed") // one that failed is in the journal, and need not stay in memory
	u.section("Service")
	u.run(s.Exec, "", s.EnvironmentFile, s.User)
	u.set("StandardInput", "socket")
	u.set("StandardError", "journal")
	u.allow(s.Allow)
	door := newUnit(plugin, s.Name, s.Description)
	door.section("Socket")
	for _, at := range s.Listen {
		door.set("ListenStream", at)
	}
	if s.ListenUser != "" {
		door.set("SocketUser", s.ListenUser)
		door.set("SocketMode", "0600")
	}
	door.set("Accept", "yes")
	door.allow(s.Allow)
	door.section("Install")
	door.set("WantedBy", "sockets.target")
	service, err := u.unit(s.Name+"@.service", false, true)
	socket, err2 := door.unit(s.Name+".socket", s.Enable, false)
	return []unit{service, socket}, errors.Join(err, err2)
}

// keep is put before a command to have what it prints replace a file, at once and only if it ends well. systemd takes
// "$$" for "$".
const keep = `/bin/sh -c 'umask 022 && "$$@" >"$$0.new" && mv -f "$$0.new" "$$0"' `

// intervalUnits is what is run, and the timer that runs it.
func intervalUnits(plugin string, i fleet.Interval) ([]unit, error) {
	seconds := func(d schema.Duration) string {
		if d == 0 {
			return ""
		}
		return strconv.FormatInt(int64(time.Duration(d)/time.Second), 10) + "s"
	}
	u := newUnit(plugin, i.Name, i.Description)
	u.set("Wants", "network-online.target")
	u.set("After", "network-online.target")
	u.section("Service")
	u.set("Type", "oneshot")
	wrap := ""
	if i.Output != "" {
		wrap = keep + i.Output + " "
		u.set("CacheDirectory", strings.TrimPrefix(path.Dir(i.Output), "/var/cache/"))
	}
	u.run(i.Exec, wrap, i.EnvironmentFile, i.User)
	u.set("TimeoutStartSec", seconds(i.Timeout))
	timer := newUnit(plugin, i.Name, i.Description)
	timer.section("Timer")
	timer.set("OnActiveSec", "0")
	timer.set("OnUnitActiveSec", seconds(i.Every))
	timer.set("AccuracySec", "1s")
	timer.section("Install")
	timer.set("WantedBy", "timers.target")
	service, err := u.unit(i.Name+".service", false, true)
	clock, err2 := timer.unit(i.Name+".timer", i.Enable, false)
	return []unit{service, clock}, errors.Join(err, err2)
}
