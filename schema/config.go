package schema

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema/window"
)

// AgentConfigSchema is the version of the baked settings' form.
const AgentConfigSchema = 1

// MaxAgentConfig bounds ConfigFile, in bytes.
const MaxAgentConfig = 1 << 20

// AgentConfig is ConfigFile: what the updater's rules resolve to for a host. Hosts with equal settings share it, so it
// names no host.
type AgentConfig struct {
	Schema       int           `json:"schema"`
	Fleet        string        `json:"fleet"`
	Package      string        `json:"package"` // name of the package in the system's package manager
	Version      string        `json:"version"` // of the host program in this package
	Server       string        `json:"server"`  // base URL, https
	Fixed        bool          `json:"fixed"`   // never follow the site that the server names
	Certificates []string      `json:"certificates"`
	Interval     Duration      `json:"interval"`
	Proxy        Proxy         `json:"proxy"`
	Keys         []AcceptedKey `json:"keys"`
	Threshold    int           `json:"threshold"`
	KeyExpiry    *KeyExpiry    `json:"keyExpiry,omitempty"` // absent: as DefaultKeyExpiry has it
	Drift        string        `json:"drift,omitempty"`     // a Drift… constant; absent: DriftRepair
	Watch        *Duration     `json:"watch,omitempty"`     // of services after an installation; absent: DefaultWatch
	Windows      []string      `json:"windows,omitempty"`   // as package window has them; none: at any time

	UnreachableAfter Duration `json:"unreachableAfter,omitempty"` // absent: DefaultUnreachableAfter

	Handover *Handover `json:"handover,omitempty"` // to another fleet; nil: none. Programs that do not know it stay
}

// DefaultWatch is how long services are watched after an installation.
const DefaultWatch = 10 * time.Second

// MaxWatch bounds that: nobody sees the host's next check meanwhile.
const MaxWatch = 10 * time.Minute

// DefaultUnreachableAfter is how long the fault of something central, such as a server that no host reaches, leaves a
// host's status OK: else one fault would be an alarm of every host.
const DefaultUnreachableAfter = 3 * 24 * time.Hour

// What a host does where its package is not as it was installed: another version, files that are missing or changed.
const (
	DriftRepair = "repair" // install it again, with a copy of what was changed
	DriftReport = "report" // say so, and leave it alone
)

// Proxy says how the server is reached: mode none, environment or explicit (then URL is http or socks5).
type Proxy struct {
	Mode string `json:"mode"`
	URL  string `json:"url,omitempty"`
}

// AcceptedKey is a signature key that the host believes.
type AcceptedKey struct {
	Name    string    `json:"name"`
	Public  string    `json:"public"`           // PEM, SubjectPublicKeyInfo
	Expires time.Time `json:"expires,omitzero"` // from then on nothing new is signed with it; the host believes it all the same
}

// KeyExpiry is how long before a key expires it is told.
type KeyExpiry struct {
	Warn     Duration `json:"warn"`
	Critical Duration `json:"critical"`
}

// Check reports whether a host can run the check.
func (h *HealthCheck) Check() error {
	switch {
	case len(h.Command) == 0 || !path.IsAbs(h.Command[0]):
		return errors.New("command does not start with an absolute path")
	case h.Within <= 0 || time.Duration(h.Within) > time.Hour:
		return fmt.Errorf("within: %s is out of range: want up to 1h", h.Within)
	}
	return nil
}

// DefaultKeyExpiry holds unless fleet.cue says otherwise.
var DefaultKeyExpiry = KeyExpiry{Warn: Duration(90 * 24 * time.Hour), Critical: Duration(30 * 24 * time.Hour)}

// States of a key, in reports and on status pages. KeyFine is what KeyExpiry.Of says of one that is KeyValid.
const (
	KeyFine     = ""
	KeyValid    = "valid"
	KeyCorrupt  = "corrupt"  // it cannot be read, so it verifies nothing
	KeyExpiring = "expiring" // within KeyExpiry.Warn
	KeyCritical = "critical" // within KeyExpiry.Critical
	KeyExpired  = "expired"
)

// Of is the state at time now of a key that expires then; zero: never.
func (e KeyExpiry) Of(expires, now time.Time) string {
	left := expires.Sub(now)
	switch {
	case expires.IsZero() || left > max(time.Duration(e.Warn), time.Duration(e.Critical)):
		return KeyFine
	case left <= 0:
		return KeyExpired
	case left <= time.Duration(e.Critical):
		return KeyCritical
	}
	return KeyExpiring
}

// HealthCheck is a command that must exit 0 within Within after an installation. HealthFile is a JSON array of them.
type HealthCheck struct {
	Plugin  string   `json:"plugin"`
	Command []string `json:"command"`
	Within  Duration `json:"within"`
	User    string   `json:"user,omitempty"`  // who runs it; empty: root
	Units   []string `json:"units,omitempty"` // of the plugin: a check is of no use where one of them was stopped
}

// FieldError is what is wrong with one setting of an AgentConfig. Field is its name in JSON, which is also that of the
// updater's parameter.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// DecodeAgentConfig reads and checks ConfigFile, with everything in it that a host will use. Whoever makes the file
// asks the same function, so that no host meets settings that it refuses. The error is a FieldError where one setting
// is to blame.
func DecodeAgentConfig(b []byte) (*AgentConfig, error) {
	// What is text in JSON has a form of its own, which is checked like all else.
	var raw struct {
		AgentConfig
		Interval  string  `json:"interval"`
		Watch     *string `json:"watch"`
		After     *string `json:"unreachableAfter"`
		KeyExpiry *struct {
			Warn     string `json:"warn"`
			Critical string `json:"critical"`
		} `json:"keyExpiry"`
	}
	if err := Decode(b, &raw); err != nil {
		return nil, err
	}
	c := &raw.AgentConfig
	if len(b) > MaxAgentConfig {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(b), MaxAgentConfig)
	}
	var err error
	if c.Interval, err = ParseDuration(raw.Interval); err != nil {
		return nil, &FieldError{"interval", err}
	}
	if raw.Watch != nil {
		c.Watch = new(Duration)
		if *c.Watch, err = ParseDuration(*raw.Watch); err != nil {
			return nil, &FieldError{"watch", err}
		}
	}
	if raw.After != nil {
		if c.UnreachableAfter, err = ParseDuration(*raw.After); err != nil {
			return nil, &FieldError{"unreachableAfter", err}
		}
	}
	if e := raw.KeyExpiry; e != nil {
		c.KeyExpiry = &KeyExpiry{}
		if c.KeyExpiry.Warn, err = ParseDuration(e.Warn); err == nil {
			c.KeyExpiry.Critical, err = ParseDuration(e.Critical)
		}
		if err != nil {
			return nil, &FieldError{"keyExpiry", err}
		}
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// Validate checks c, the values that others parse included. Keys come last.
func (c *AgentConfig) Validate() error {
	field := func(name string, err error) error { return &FieldError{name, err} }
	switch {
	case c.Schema != AgentConfigSchema:
		return field("schema", fmt.Errorf("%d, this program reads %d", c.Schema, AgentConfigSchema))
	case CheckName(c.Package) != nil:
		return field("package", fmt.Errorf("package name %.80q", c.Package))
	case c.Drift != "" && c.Drift != DriftRepair && c.Drift != DriftReport:
		return field("drift", fmt.Errorf("unknown value %.40q: want %s or %s", c.Drift, DriftRepair, DriftReport))
	case time.Duration(c.Interval) < time.Second:
		return field("interval", fmt.Errorf("%s is out of range: want 1s to %dd", c.Interval, maxDays))
	case c.Watch != nil && time.Duration(*c.Watch) > MaxWatch:
		return field("watch", fmt.Errorf("%s is out of range: want 0s to %s", *c.Watch, MaxWatch))
	}
	if _, err := window.Parse(c.Windows); err != nil {
		return field("windows", err)
	}
	if err := CheckServerURL(c.Server); err != nil {
		return field("server", err)
	}
	if err := c.Proxy.Check(); err != nil {
		return field("proxy", err)
	}
	if err := c.Handover.check(); err != nil {
		return field("handover", err)
	}
	for i, text := range c.Certificates {
		if _, err := ParseCertificates(text); err != nil {
			return field("certificates", fmt.Errorf("certificate %d: %w", i+1, err))
		}
	}
	for _, k := range c.Keys {
		if _, err := ParsePublicKey(k.Public); err != nil {
			return field("keys", fmt.Errorf("signature key %.80q: %w", k.Name, err))
		}
	}
	switch {
	case len(c.Keys) == 0:
		return field("keys", errors.New("no accepted signature keys"))
	case c.Threshold < 1 || c.Threshold > len(c.Keys):
		return field("threshold", fmt.Errorf("%d is out of range: want 1 to %d, the number of accepted keys",
			c.Threshold, len(c.Keys)))
	}
	return nil
}

// Check reports whether a host can use the proxy. It prints no URL, which may hold a password; nor does url.Error.
func (p Proxy) Check() error {
	switch p.Mode {
	case "", "none", "environment":
		return nil
	case "explicit":
		u, err := url.Parse(p.URL)
		if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
			return errors.New("invalid URL: want http://proxy.example:3128 or socks5://proxy.example:1080, " +
				"special characters in user and password as %XX")
		}
		if checkHostPort(u) != nil { // whose error prints what may be half of a password with odd characters
			return errors.New("invalid URL: its host is neither a name of a machine nor an IP address, or its port " +
				"is out of range")
		}
		return nil
	}
	return fmt.Errorf("unknown mode %.40q: want none, environment or explicit", p.Mode)
}

// CheckServerURL accepts an https or http base URL without user, query and fragment.
func CheckServerURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("server %.120q is not a URL such as https://bakehouse.example:8443", withoutUser(s))
	}
	return checkHostPort(u)
}

// userOfURL is what may hold a password.
var userOfURL = regexp.MustCompile(`//[^/]*@`)

// withoutUser is text that should be a URL, without a user and password in it.
func withoutUser(s string) string { return userOfURL.ReplaceAllString(s, "//") }

// checkHostPort refuses what no connection can be made to: a port out of range, a host that is neither a name nor an
// address.
func checkHostPort(u *url.URL) error {
	if err := CheckHost(u.Hostname()); err != nil {
		return err
	}
	port := u.Port()
	if port == "" {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %.20s is out of range: want 1 to 65535", port)
	}
	return nil
}

const hostRune = `A-Za-z0-9_\x{80}-\x{10ffff}`

var hostLabel = regexp.MustCompile(`^[` + hostRune + `](?:[` + hostRune + `-]{0,61}[` + hostRune + `])?$`)

// CheckHost accepts the name of a machine as DNS has it, or an IP address. Four numbers that are no address, such as
// 10.1.0.300, are not taken for a name.
func CheckHost(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 10, 64); err == nil && len(labels) > 1 {
		return fmt.Errorf("%.80q is not an IP address, and no name of a machine ends in a number", s)
	}
	if len(s) > 253 || slices.ContainsFunc(labels, func(l string) bool { return !hostLabel.MatchString(l) }) {
		return fmt.Errorf("%.80q is neither a name of a machine nor an IP address", s)
	}
	return nil
}
