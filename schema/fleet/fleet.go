// Package fleet is the model of a config repo: a typed Fleet of hosts, folders, rules, plugins and keys; what plugins
// yield for a host; and Problems, each at its file, line and column. It is plain data of the standard library alone.
//
// Package reconcile/evaluate makes it of CUE files. Rules are kept as written, without defaults; package
// reconcile/rules resolves them.
package fleet

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"bakehouse/schema"
)

// Fleet is a whole config repo.
type Fleet struct {
	Name          string
	URL           string   // of the central server
	Certificates  []string // PEM, each one certificate: the authorities that vouch for URL; none: the public ones
	Lifetimes     Lifetimes
	KeyExpiry     schema.KeyExpiry
	Limits        Limits
	Keep          Keep
	AnchorVersion int                         // of the root that packages carry
	Roots         [][]byte                    // trust/1.root.json and on, unparsed; nil before `root init`
	Programs      map[schema.Platform]Program // pinned host programs
	Keys          map[string]*Key
	Thresholds    map[string]int     // of TUF roles, by use; see Threshold
	Hosts         []*Host            // by name
	Folders       map[string]*Folder // by path below hosts/; "" is the root, which is always there
	Plugins       map[string]*Plugin // the repo's own, and the shipped ones that rules are about
	Conditions    map[string]*Condition
	Rollout       Rollout
	Sites         map[string]schema.Site // always holds CentralSite
	SitePos       map[string]Pos         // of the others
	Authorities   []Authority            // that vouch for servers
	Downloads     *schema.Downloads      // nil: hosts fetch from the sites alone
	Access        schema.Access
	Warnings      Problems
	Unread        []Unread // what is where the fleet is looked for, and no part of it was read from
}

// Authority is a certificate that vouches for a server, where it is written.
type Authority struct {
	Pos  Pos
	Cert *x509.Certificate
}

// Unread is a file or a folder that the fleet was not read from. A package may yet take a file as it is.
type Unread struct {
	Problem
	Aside bool // it may well be another's: not worth a warning
}

// CentralSite is schema.CentralSite.
const CentralSite = schema.CentralSite

// Anchor is the anchor root's bytes, or nil before `root init`.
func (f *Fleet) Anchor() []byte {
	if f.AnchorVersion < 1 || f.AnchorVersion > len(f.Roots) {
		return nil
	}
	return f.Roots[f.AnchorVersion-1]
}

// Lifetimes of TUF roles, counted from their signing.
type Lifetimes struct{ Timestamp, Snapshot, Targets, Root time.Duration }

// Limits bound what one change may do.
type Limits struct {
	Removed int  // hosts that may be removed at once without being named in a commit message
	Half    bool // nor more than half of them: so unless fleet.cue sets a number
}

// Removable is how many of so many hosts may be removed at once.
func (l Limits) Removable(hosts int) int {
	if l.Half {
		return min(l.Removed, max(hosts/2, 1))
	}
	return l.Removed
}

// Keep is what gc leaves in the store.
type Keep struct {
	Releases int // how many of the last
}

// Program pins the host program of a platform.
type Program struct {
	Version string
	SHA256  schema.Digest
	Pos     Pos
}

var programVersion = regexp.MustCompile(`^[0-9][A-Za-z0-9.+~]{0,63}$`)

// CheckVersion says why a host program's version cannot be a package's, in front of "+recipe" in any format.
func CheckVersion(v string) error {
	if !programVersion.MatchString(v) {
		return fmt.Errorf("version %.80q of the host program does not start with a digit, "+
			"or has other than letters, digits, '.', '+' and '~'", v)
	}
	return nil
}

// Folder is a directory under hosts/. Its defaults and rules reach the hosts at or below it.
type Folder struct {
	Path     string           // "" or "web/frontend"
	Parent   *Folder          // nil for the root
	Defaults map[string]Value // host attributes, as in Host.Attributes
	Rules    map[string][]*Rule
}

// HostAttributes is the name under which rules set attributes of hosts.
const HostAttributes = "host"

// Attributes of hosts that rules and folders may set.
const (
	AttrPlatform = "platform"
	AttrFormat   = "format"
	AttrSite     = "site"
	AttrRing     = "ring"
	// A duration; servers know it, the host's package and targets do not depend on it.
	AttrRetireAfter = "retireAfter"
)

// Host is one monitored host as written. Labels and tags include those of its folders' defaults.
type Host struct {
	Name         string
	Folder       *Folder
	Address      string
	Retired      bool     // listed, but no package is published for it
	Was          []string // former names, which no other host has or had
	Labels, Tags map[string]string
	Attributes   map[string]Value // the Attr… that the host itself sets
	Set          map[string]*Rule // its own first rules, by plugin
	Pos          Pos
}

// Field is a field that a plugin may declare of a host: a text, or of labels and tags a JSON object.
func (h *Host) Field(name string) string {
	object := func(m map[string]string) string {
		if m == nil {
			return "{}"
		}
		b, err := json.Marshal(m)
		if err != nil {
			panic(err) // strings always encode
		}
		return string(b)
	}
	switch name {
	case "name":
		return h.Name
	case "address":
		return h.Address
	case "folder":
		return h.Folder.Path
	case "labels":
		return object(h.Labels)
	case "tags":
		return object(h.Tags)
	}
	return ""
}

// Rule sets parameters of a plugin, or attributes (HostAttributes), for the hosts that When matches.
type Rule struct {
	When     When
	Value    map[string]Value
	Disabled bool // it is for no host
	Override bool // it is meant to replace lists and structs of weaker rules
	Comment  string
	Owner    string
	Pos      Pos
}

// Rollout says which hosts get updates, and in which order.
type Rollout struct {
	Enabled bool // the master switch
	Select  When
	Rings   []Ring // the first that matches a host is its ring; a host in none holds
	Revoked []schema.Digest
	MaxHold schema.Duration // 0: none
}

// Ring is a stage of the rollout and the hosts in it.
type Ring struct {
	schema.Ring
	When When
	Pos  Pos
}

// Info is what a plugin may learn of the fleet, for hosts of one platform.
type Info struct {
	Name         string
	URL          string
	Certificates []string
	Package      string            // name of the package in the system's package manager
	Version      string            // of the platform's pinned host program; empty if none is
	Program      schema.Digest     // of that program
	Keys         map[string]string // name to PEM, of the keys whose use is package and that are not retired
	Expires      map[string]string // of those of them that expire, as RFC 3339
	KeyExpiry    map[string]string // "warn" and "critical", as fleet.cue sets them; empty: it does not
	Anchor       []byte            // the anchor root
}

// Field is a field by the name that plugins have for it: a string, a list of strings or a map of strings.
func (i Info) Field(name string) any {
	switch name {
	case "name":
		return i.Name
	case "url":
		return i.URL
	case "certificates":
		return i.Certificates
	case "package":
		return i.Package
	case "version":
		return i.Version
	case "keys":
		return i.Keys
	case "expires":
		return i.Expires
	case "keyExpiry":
		return i.KeyExpiry
	case "anchor":
		return string(i.Anchor)
	}
	return nil
}

// PackageName is what every package that Bakehouse bakes is called on the host.
const PackageName = "bakehouse-agent"

// Info is what plugins may learn when they are evaluated for that platform.
func (f *Fleet) Info(p schema.Platform) Info {
	info := Info{Name: f.Name, URL: f.URL, Certificates: f.Certificates, Package: PackageName,
		Version: f.Programs[p].Version, Program: f.Programs[p].SHA256, Keys: map[string]string{},
		Expires: map[string]string{}, Anchor: f.Anchor()}
	if e := f.KeyExpiry; e != schema.DefaultKeyExpiry {
		info.KeyExpiry = map[string]string{"warn": e.Warn.String(), "critical": e.Critical.String()}
	}
	for name, k := range f.Keys {
		if !k.Has(UsePackage) {
			continue
		}
		info.Keys[name] = k.Public
		if !k.Expires.IsZero() {
			info.Expires[name] = k.Expires.UTC().Format(time.RFC3339)
		}
	}
	return info
}

// Threshold is how many keys with that use have to sign its role.
func (f *Fleet) Threshold(use string) int { return max(1, f.Thresholds[use]) }
