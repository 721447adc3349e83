package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// Prometheus writes s as metrics. Times that have not come yet are left out, as a zero would be in 1970.
func (s *Status) Prometheus(w io.Writer) error {
	var b strings.Builder
	metric := func(name, help string) {
		fmt.Fprintf(&b, "# HELP bakehouse_agent_%s %s\n# TYPE bakehouse_agent_%[1]s gauge\n", name, help)
	}
	value := func(name, labels string, v any) { fmt.Fprintf(&b, "bakehouse_agent_%s%s %v\n", name, labels, v) }
	one := func(name, help string, v any) {
		metric(name, help)
		value(name, "", v)
	}
	at := func(name, help string, t time.Time) {
		if !t.IsZero() {
			one(name, help, t.Unix())
		}
	}
	var installed schema.Digest
	version, release := "", int64(0)
	if i := s.Installed; i != nil {
		installed, version, release = i.Package, i.Version, i.Release
	}
	metric("info", "What this host is, and what is installed.")
	value("info", labels("host", s.Host, "site", s.Site, "server", s.Server, "program", s.Agent, "version", version,
		"package", hex(installed), "target", hex(s.Last.Target), "state", s.Last.State, "code", s.Last.Code), 1)
	one("severity", "How the host is: 0 ok, 1 warning, 2 critical.", int(s.Severity))
	one("registered", "Whether the host is registered.", number(s.Registered))
	one("release", "Number of the release that is installed; 0: none.", release)
	one("overdue", "Whether no update was tried for three intervals.", number(s.Overdue != ""))
	one("paused", "Whether an administrator of the host has updates paused.", number(s.Paused != nil))
	one("drift", "Whether the installed package is not as it was installed.", number(s.Differs != ""))
	one("interval_seconds", "Time between two updates.", int64(time.Duration(s.Interval)/time.Second))
	at("last_try_timestamp_seconds", "When an update last came to an end.", s.LastTry)
	at("last_check_timestamp_seconds", "When a server last answered.", s.LastCheck)
	at("last_update_timestamp_seconds", "When a package was last installed.", s.LastUpdate)
	at("held_since_timestamp_seconds", "Since when something that is not signed keeps the host from releases.",
		s.HeldSince)
	if len(s.Keys) > 0 {
		metric("key_valid", "Whether an accepted signature key can be used for new packages.")
		for _, k := range s.Keys {
			usable := k.State != schema.KeyCorrupt && k.State != schema.KeyExpired
			value("key_valid", labels("key", k.Name), number(usable))
		}
		metric("key_expiry_timestamp_seconds", "When an accepted signature key expires.")
		for _, k := range s.Keys {
			if !k.Expires.IsZero() {
				value("key_expiry_timestamp_seconds", labels("key", k.Name), k.Expires.Unix())
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WritePrometheus replaces a file of node_exporter's textfile collector, which reads it at any time and as any user.
func (s *Status) WritePrometheus(name string) error {
	if filepath.Ext(name) != ".prom" {
		return fault.Hint(fmt.Errorf("%s does not end in .prom", name), "the textfile collector reads no other files")
	}
	var b strings.Builder
	if err := s.Prometheus(&b); err != nil {
		return err
	}
	if err := durable.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) { // which names the file that was to become this one
			err = pe.Err
		}
		return fault.Hint(fmt.Errorf("cannot write %s: %w", name, err),
			"give a file in node_exporter's textfile directory, which has to exist")
	}
	return nil
}

// labels takes names and values in turn.
func labels(pairs ...string) string {
	var out []string
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, pairs[i]+`="`+escape.Replace(strings.ToValidUTF8(pairs[i+1], "?"))+`"`)
	}
	return "{" + strings.Join(out, ",") + "}"
}

func hex(d schema.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.Hex()
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
