package schema

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PolicySchema is the version of the policy's form.
const PolicySchema = 1

// Policy is the signed target that all hosts share: what may be installed, how early and where from. A server can
// hold back but never override it.
type Policy struct {
	Schema    int             `json:"schema"`
	Fleet     string          `json:"fleet"`
	Issued    time.Time       `json:"issued"`  // no clock is believed to be earlier
	Enabled   bool            `json:"enabled"` // the master switch
	Rings     []Ring          `json:"rings"`
	Revoked   []Digest        `json:"revoked,omitempty"` // packages
	MaxHold   Duration        `json:"maxHold,omitempty"` // 0: none
	Sites     map[string]Site `json:"sites"`
	Downloads *Downloads      `json:"downloads,omitempty"` // programs that do not know it follow no redirect
}

// Downloads are the servers, besides the sites, to which a server may send its hosts for segments. Certificates are as
// those of a Site.
type Downloads struct {
	Origins      []string `json:"origins"` // https://HOST or https://HOST:PORT
	Certificates string   `json:"certificates,omitempty"`
}

// Origin is one of the places where content that is verified by its digest may come from: the certificates that vouch for
// it, empty for the public ones. ok is false if signed policy does not name it.
func (p *Policy) Origin(u *url.URL) (certificates string, ok bool) {
	if u.Scheme != "https" || u.User != nil || u.Hostname() == "" {
		return "", false
	}
	want := origin(u)
	for _, name := range slices.Sorted(maps.Keys(p.Sites)) {
		if s, err := url.Parse(p.Sites[name].URL); err == nil && s.Scheme == "https" && origin(s) == want {
			return p.Sites[name].Certificates, true
		}
	}
	if p.Downloads == nil {
		return "", false
	}
	named := func(o string) bool {
		s, err := url.Parse(o)
		return err == nil && s.Scheme == "https" && origin(s) == want
	}
	if !slices.ContainsFunc(p.Downloads.Origins, named) {
		return "", false
	}
	return p.Downloads.Certificates, true
}

// origin is host and port of an https URL, in the one form in which equal ones are equal.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// Ring is a stage of a rollout: its hosts wait Delay after a package was first published to them. Gate and Halt are
// for servers, which hold hosts back by them: hosts, and programs that do not know them, install by the rest alone.
type Ring struct {
	Name  string   `json:"name"`
	Delay Duration `json:"delay,omitempty"`
	Gate  *Gate    `json:"gate,omitempty"` // nil: the ring waits for no other
	Halt  *Halt    `json:"halt,omitempty"` // nil: nothing of the ring halts a release
}

// Gate is what a ring waits for before it gets a release: of the hosts of other rings, all before it or those of
// Rings, the share Healthy, and at least Hosts, run the release and are up to date, and have been for the time For.
type Gate struct {
	Rings   []string `json:"rings,omitempty"`
	Healthy Share    `json:"healthy"`
	Hosts   int      `json:"hosts,omitempty"`
	For     Duration `json:"for,omitempty"`
}

// Halt is when a ring halts a release: more than the share Failed of its hosts that tried it, and at least Hosts of
// them, failed or rejected it.
type Halt struct {
	Failed Share `json:"failed"`
	Hosts  int   `json:"hosts,omitempty"`
}

// CentralSite is the name of the site whose server is the fleet's url.
const CentralSite = "central"

// Site is a server as its hosts see it. Certificates are PEM; given any, no public authority is believed. Passwords
// says whether users may send theirs through it; programs that do not know it need not ask: the site's server does.
type Site struct {
	URL          string `json:"url"`
	Certificates string `json:"certificates,omitempty"`
	Passwords    bool   `json:"passwords,omitempty"`
}

// Standing is what a host runs and remembers when it decides.
type Standing struct {
	Installed Digest  // zero: no package of the fleet
	Release   int64   // of the installed package; 0: not known
	Failed    []int64 // releases that failed here and were rolled back
}

// The outcomes of Decide, in the order in which they are tried. They are stable: reports and sections carry them.
const (
	CodeDisabled    = "disabled"     // master switch off
	CodeNotSelected = "not-selected" // host selection
	CodeNoRing      = "no-ring"
	CodeWaiting     = "waiting" // ring delay not over
	CodeRevoked     = "revoked"
	CodeFailed      = "failed-here"
	CodeCurrent     = "current"
	CodeInstall     = "install"
)

// Verdict is what a host may do now, and why. Package is set for CodeInstall, CodeCurrent
// and CodeFailed.
type Verdict struct {
	Code    string
	Why     string
	Package Candidate
}

// Install reports whether the host shall install v.Package.
func (v Verdict) Install() bool { return v.Code == CodeInstall }

// Decide says what host a may do at time now under p. It is pure: host, server and explain call it alike. The two
// phrases for a disabled fleet and a disabled host are those that Checkmk's check recognises.
func (p *Policy) Decide(a *Assignment, s Standing, now time.Time) Verdict {
	if !p.Enabled {
		return Verdict{Code: CodeDisabled, Why: "deployment is currently globally disabled"}
	}
	if !a.Selected {
		return Verdict{Code: CodeNotSelected, Why: "agent updates are disabled for host " + a.Host}
	}
	i := slices.IndexFunc(p.Rings, func(r Ring) bool { return r.Name == a.Ring })
	if a.Ring == "" || i < 0 {
		return Verdict{Code: CodeNoRing, Why: "host " + a.Host + " is in no ring of the policy, so it holds"}
	}
	held := Verdict{} // of the newest candidate that is not revoked
	for _, c := range a.Candidates() {
		due := c.Since.Add(time.Duration(p.Rings[i].Delay))
		var v Verdict
		switch {
		case slices.Contains(p.Revoked, c.SHA256):
			v = Verdict{Code: CodeRevoked, Why: "package " + c.SHA256.Short() + " is revoked"}
		case slices.Contains(s.Failed, c.Release):
			v = Verdict{Code: CodeFailed, Package: c, Why: "release " +
				strconv.FormatInt(c.Release, 10) + " failed on this host and was rolled back"}
		case c.SHA256 == s.Installed:
			if held.Code == CodeFailed || held.Code == CodeWaiting {
				return held // it runs an older candidate because of that, and shall not look up to date
			}
			return Verdict{Code: CodeCurrent, Why: "up to date", Package: c}
		case c.Release <= s.Release && !slices.Contains(p.Revoked, s.Installed):
			// An older candidate is no way back: a downgrade is published under a new release number. Only the
			// signed revocation of what runs here lets an older candidate in.
			continue
		case now.Before(due):
			v = Verdict{Code: CodeWaiting, Why: fmt.Sprintf("ring %s installs this package from %s", a.Ring, due.UTC().Format(time.RFC3339))}
		default:
			return Verdict{Code: CodeInstall, Why: "release " + strconv.FormatInt(c.Release, 10), Package: c}
		}
		if held.Code == "" || held.Code == CodeRevoked && v.Code != CodeRevoked {
			held = v
		}
	}
	if held.Code == "" {
		held = Verdict{Code: CodeCurrent, Why: "the installed release is newer than what is published"}
	}
	return held
}
