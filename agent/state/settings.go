package state

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/window"
)

// Where the value that counts comes from. Several that add up are listed, such as "policy, config".
const (
	FromPolicy  = "policy" // signed, of the host's site
	FromConfig  = "config" // baked
	FromState   = "state"  // RecordFile: from registration, or learnt
	FromDefault = "default"
	FromNone    = "none"
)

// Setting is one setting as its sources have it, to be shown. Secrets are never in it.
type Setting struct {
	Name   string `json:"name"`
	Policy string `json:"policy,omitempty"` // signed, of the host's site
	Config string `json:"config,omitempty"` // schema.ConfigFile and AnchorFile: baked
	State  string `json:"state,omitempty"`  // RecordFile: from registration, or learnt
	Value  string `json:"value"`            // what counts
	From   string `json:"from"`             // a From… constant
}

// Settings is the whole table for a host.
func (h *Host) Settings() []Setting {
	out := make([]Setting, len(table))
	for i, s := range table {
		out[i] = s.row(h)
	}
	return out
}

// Trusted is the anchor and the signature keys that a package is verified by.
func (h *Host) Trusted() (root []byte, accepted []schema.AcceptedKey, needed int, err error) {
	if h.Problem != nil {
		return nil, nil, 0, h.Problem
	}
	root, from := anchor.of(h)
	if from == FromNone {
		return nil, nil, 0, fault.Hint(
			errors.New("this host has no package of the fleet yet, and nothing to verify one with"),
			"install its package manually, or register again with --force --anchor trust/1.root.json --key KEY.pem, "+
				"or with --force --root-fingerprint SHA256")
	}
	return root, keys.value(h), threshold.value(h), nil
}

// Unsigned reports whether signatures on the next package are not asked for: it is the first, and no key is known.
func (h *Host) Unsigned() bool {
	return h.Config == nil && h.Problem == nil && h.Bootstrap != nil && h.Bootstrap.Unsigned
}

// Servers lists the servers to ask; the first that answers is used.
func (h *Host) Servers() []string { return servers.value(h) }

// Certificates (PEM) are all authorities that may vouch for servers: given any, the public ones do not count.
func (h *Host) Certificates() []string { return certificates.value(h) }

// Proxy is how servers are reached.
func (h *Host) Proxy() schema.Proxy { return proxy.value(h) }

// Interval is the time between two updates.
func (h *Host) Interval() time.Duration { return interval.value(h) }

// soonest is how soon a server may ask for the next check: a minute, and what a tenth less than it leaves.
const soonest = 67 * time.Second

// Pause is how long it is from one check to the next, give or take a tenth: the interval, or less if the server asked
// for it.
func (h *Host) Pause() time.Duration {
	if h.Asked <= 0 || h.Asked > int64(h.Interval()/time.Second) {
		return h.Interval()
	}
	return min(max(time.Duration(h.Asked)*time.Second, soonest), h.Interval())
}

// LeavesDrift reports whether what differs from the installed package is reported and left alone.
func (h *Host) LeavesDrift() bool { return drift.value(h) == schema.DriftReport }

// Watch is how long services are watched after an installation.
func (h *Host) Watch() time.Duration { return watch.value(h) }

// UnreachableAfter is how long the fault of something central leaves the host's status OK.
func (h *Host) UnreachableAfter() time.Duration { return unreachableAfter.value(h) }

// Closed says that no maintenance window is open at the time now, and when one is, which is opens; empty: one is open.
func (h *Host) Closed(now time.Time) (why string, opens time.Time) {
	w, err := window.Parse(windows.value(h))
	if err != nil || w.Open(now.Local()) { // what is baked was checked by the same function
		return "", time.Time{}
	}
	opens = w.Next(now.Local())
	return "no maintenance window is open; the next one opens at " + opens.Format(time.RFC3339), opens
}

// PackageName is the name that packages must have; empty: any, for the first one.
func (h *Host) PackageName() string { return packageName.value(h) }

// table is every setting of a host, and which of its sources counts.
var table = []interface{ row(h *Host) Setting }{
	fleet, hostName, hostSecret, site, servers, fixed, certificates, interval, proxy, lastWay, anchor, keys, threshold,
	drift, windows, watch, unreachableAfter, packageName, programVersion, registeredAt,
}

var (
	fleet      = setting[string]{name: "fleet", baked: config(func(c *schema.AgentConfig) string { return c.Fleet })}
	hostName   = setting[string]{name: "host", recorded: registration(func(r *Registration) string { return r.Host })}
	hostSecret = setting[string]{
		name:     "host secret",
		recorded: registration(func(r *Registration) string { return r.Secret }),
		show:     func(string) string { return "set (hidden)" },
	}
	site = setting[string]{name: "site", recorded: registration(func(r *Registration) string { return r.Site })}

	// The first that answers is used: what is signed moves hosts, the fleet's own server stands in for that of a site,
	// and where they were registered is what is left to them if nothing else answers. A server that the package fixes
	// is the only one.
	servers = setting[[]string]{
		name:     "server",
		signed:   policy(signedServers),
		baked:    config(func(c *schema.AgentConfig) []string { return given(c.Server) }),
		recorded: registration(func(r *Registration) []string { return given(r.Server) }),
		several:  union,
		fixed:    func(h *Host) bool { return h.Config.Fixed },
		show:     func(urls []string) string { return strings.Join(urls, ", then ") },
	}
	fixed = setting[bool]{
		name:     "fixed server",
		baked:    config(func(c *schema.AgentConfig) bool { return c.Fixed }),
		standard: func() bool { return false },
	}

	// PEM. Given any, the public authorities do not count. Those of registration are forgotten as soon as a server
	// was reached by the others (Host.Reached).
	certificates = setting[[]string]{
		name:     "certificates",
		signed:   policy(func(s *Site) []string { return s.Certificates }),
		baked:    config(func(c *schema.AgentConfig) []string { return c.Certificates }),
		recorded: registration(func(r *Registration) []string { return r.Certificates }),
		several:  union,
		standard: func() []string { return nil },
		show:     describeCertificates,
	}
	// By which a server was last reached. It is tried when those of the other settings fail.
	lastWay = setting[*Way]{
		name:     "last way that worked",
		recorded: func(h *Host) (*Way, bool) { return h.Worked, h.Worked != nil },
		show:     func(w *Way) string { return w.String() },
	}
	interval = setting[time.Duration]{
		name:     "interval",
		baked:    config(func(c *schema.AgentConfig) time.Duration { return time.Duration(c.Interval) }),
		standard: func() time.Duration { return time.Hour },
		show:     func(d time.Duration) string { return schema.Duration(d).String() },
	}
	proxy = setting[schema.Proxy]{
		name:     "proxy",
		baked:    config(func(c *schema.AgentConfig) schema.Proxy { return c.Proxy }),
		standard: func() schema.Proxy { return schema.Proxy{Mode: "environment"} },
		show:     describeProxy,
	}
	anchor = setting[[]byte]{
		name:     "anchor",
		baked:    func(h *Host) ([]byte, bool) { return h.Anchor, len(h.Anchor) > 0 },
		recorded: bootstrap(func(b *Bootstrap) []byte { return b.Anchor }),
		show:     describeAnchor,
	}
	keys = setting[[]schema.AcceptedKey]{
		name:     "accepted keys",
		baked:    config(func(c *schema.AgentConfig) []schema.AcceptedKey { return c.Keys }),
		recorded: bootstrap(func(b *Bootstrap) []schema.AcceptedKey { return b.Keys }),
		show:     describeKeys,
	}
	threshold = setting[int]{
		name:     "threshold",
		baked:    config(func(c *schema.AgentConfig) int { return c.Threshold }),
		standard: func() int { return 1 },
	}
	drift = setting[string]{
		name:     "drift",
		baked:    config(func(c *schema.AgentConfig) string { return cmp.Or(c.Drift, schema.DriftRepair) }),
		standard: func() string { return schema.DriftRepair },
	}
	windows = setting[[]string]{
		name:     "maintenance windows",
		baked:    config(func(c *schema.AgentConfig) []string { return c.Windows }),
		standard: func() []string { return nil },
		show: func(list []string) string {
			if len(list) == 0 {
				return "always"
			}
			return strings.Join(list, "; ")
		},
	}
	watch = setting[time.Duration]{
		name: "watch",
		baked: func(h *Host) (time.Duration, bool) {
			if h.Config == nil || h.Config.Watch == nil {
				return 0, false
			}
			return time.Duration(*h.Config.Watch), true
		},
		standard: func() time.Duration { return schema.DefaultWatch },
		show:     func(d time.Duration) string { return schema.Duration(d).String() },
	}
	unreachableAfter = setting[time.Duration]{
		name: "unreachable after",
		baked: func(h *Host) (time.Duration, bool) {
			if h.Config == nil || h.Config.UnreachableAfter == 0 {
				return 0, false
			}
			return time.Duration(h.Config.UnreachableAfter), true
		},
		standard: func() time.Duration { return schema.DefaultUnreachableAfter },
		show:     func(d time.Duration) string { return schema.Duration(d).String() },
	}
	packageName = setting[string]{
		name: "package name", baked: config(func(c *schema.AgentConfig) string { return c.Package }),
	}
	programVersion = setting[string]{
		name: "program version", baked: config(func(c *schema.AgentConfig) string { return c.Version }),
	}
	registeredAt = setting[time.Time]{
		name:     "registered at",
		recorded: registration(func(r *Registration) time.Time { return r.At }),
		show:     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}
)

// signedServers are that of the site and the one that stands in for it.
func signedServers(s *Site) []string {
	if s.Central == nil {
		return given(s.URL)
	}
	return union(given(s.URL), given(s.Central.URL))
}
