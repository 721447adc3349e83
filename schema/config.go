package schema

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// AgentConfigSchema is the version of the baked settings' form.
const AgentConfigSchema = 1

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
}

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
}

// DecodeAgentConfig reads and checks ConfigFile.
func DecodeAgentConfig(b []byte) (*AgentConfig, error) {
	var c AgentConfig
	if err := Decode(b, &c); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

// Validate checks c. Certificates and keys are parsed where they are used.
func (c *AgentConfig) Validate() error {
	switch {
	case c.Schema != AgentConfigSchema:
		return fmt.Errorf("schema %d, this program reads %d", c.Schema, AgentConfigSchema)
	case CheckName(c.Package) != nil:
		return fmt.Errorf("package name %.80q", c.Package)
	case len(c.Keys) == 0:
		return errors.New("no accepted signature keys")
	case c.Threshold < 1 || c.Threshold > len(c.Keys):
		return fmt.Errorf("threshold %d of %d keys", c.Threshold, len(c.Keys))
	case time.Duration(c.Interval) < time.Second:
		return fmt.Errorf("interval %s is under a second", c.Interval)
	}
	return CheckServerURL(c.Server)
}

// CheckServerURL accepts an https or http base URL without user, query and fragment.
func CheckServerURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("server %.120q is not a URL such as https://bakehouse.example:8443", s)
	}
	return nil
}
