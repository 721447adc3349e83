package bake

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// unitDir is read by systemd with and without a merged /usr (Debian 11 and 12 alike), and is the real folder where it is
// merged, so dpkg sees no alias.
const unitDir = "/usr/lib/systemd/system/"

// unit is a service as systemd reads it.
type unit struct {
	plugin, name string // name with ".service"
	text         string
	enable       bool
	inputs       string // digest over all that the plugin puts on the host: another one means restart
}

// services renders the services of a plugin.
func (l *layout) services(o *fleet.Output) error {
	inputs, err := inputsOf(o)
	if err != nil {
		return err
	}
	for _, s := range sortedServices(o) {
		text, err := renderUnit(o.Plugin, s)
		if err != nil {
			return fmt.Errorf("service %.80q: %w", s.Name, err)
		}
		l.units = append(l.units, unit{plugin: o.Plugin, name: s.Name + ".service", text: text, enable: s.Enable, inputs: inputs})
	}
	return nil
}

func inputsOf(o *fleet.Output) (string, error) {
	h := sha256.New()
	for _, f := range slices.SortedFunc(slices.Values(o.Files), func(a, b fleet.File) int { return cmp.Compare(a.Path, b.Path) }) {
		fmt.Fprintf(h, "%q %o %s\n", f.Path, f.Mode, f.SHA256)
	}
	b, err := json.Marshal(sortedServices(o))
	h.Write(b)
	return schema.Digest(h.Sum(nil)).Short(), err
}

func sortedServices(o *fleet.Output) []fleet.Service {
	return slices.SortedFunc(slices.Values(o.Services), func(a, b fleet.Service) int { return cmp.Compare(a.Name, b.Name) })
}

func renderUnit(plugin string, s fleet.Service) (string, error) {
	if err := schema.CheckName(s.Name); err != nil {
		return "", err
	}
	for _, v := range []string{s.Description, s.Exec, s.EnvironmentFile, s.User, s.Restart} {
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", fmt.Errorf("control character in %.80q", v)
		}
	}
	if !strings.HasPrefix(s.Exec, "/") {
		return "", fmt.Errorf("exec %.80q does not start with an absolute path", s.Exec)
	}
	if s.EnvironmentFile != "" && !path.IsAbs(s.EnvironmentFile) {
		return "", fmt.Errorf("environment file %.80q is not absolute", s.EnvironmentFile)
	}
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s=%s\n", name, value)
		}
	}
	b.WriteString("# Baked by Bakehouse from plugin " + plugin + ". The next package replaces it; to change it, use a drop-in.\n[Unit]\n")
	description := s.Description
	if description == "" {
		description = s.Name + " (Bakehouse plugin " + plugin + ")"
	}
	line("Description", strings.ReplaceAll(description, "%", "%%"))
	line("Wants", "network-online.target")
	line("After", "network-online.target")
	b.WriteString("\n[Service]\n")
	line("EnvironmentFile", s.EnvironmentFile)
	line("ExecStart", s.Exec)
	line("User", s.User)
	line("Restart", s.Restart)
	if s.Restart != "" && s.Restart != "no" {
		line("RestartSec", "5s")
	}
	b.WriteString("\n[Install]\nWantedBy=multi-user.target\n")
	return b.String(), nil
}
