// Package doctor says what a fleet needs in order to work, and whether it is there: keys, hosts with packages,
// registrations, the master switch, certificates, valid metadata, a store and a database that answer. It is a function
// of what a server knows; the page and the command doctor print what it returns.
package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
)

// Facts are what a server knows.
type Facts struct {
	Now     time.Time
	Policy  *schema.Policy
	About   *schema.About // nil: the release does not say
	Expires time.Time     // of the timestamp
	Trouble string        // why the store's head is not served
	// Certificate is what hosts have against the server's, and Ends is when it expires; zero: there is none here.
	Certificate string
	Ends        time.Time
	Database    error // why it does not answer
	// Hosts of the fleet, and those that are not registered.
	Hosts, Unregistered int
	// Registered hosts that the fleet does not have.
	NotInGit int
	// Heard is when each remote site was last heard of, Silent is which of them are not any more.
	Heard, Silent map[string]time.Time
	Site          string // that the server is; empty: the centre
}

// Warning times: metadata are renewed each day and live for a week, certificates are replaced by people.
const (
	metadataSoon    = 3 * 24 * time.Hour
	certificateSoon = 30 * 24 * time.Hour
	keysSoon        = 90 * 24 * time.Hour
)

// Findings are all that is looked at, in an order that stays.
func Findings(f Facts) []schema.Finding {
	return []schema.Finding{f.keys(), f.keyExpiry(), f.checked(), f.packages(), f.registered(), f.enabled(),
		f.certificate(), f.authorities(), f.sites(), f.metadata(), f.store(), f.database()}
}

func finding(code, title, detail string) schema.Finding {
	return schema.Finding{Code: code, Level: schema.LevelHolds, Title: title, Detail: detail}
}

// missing is v with what to do about it.
func missing(v schema.Finding, level, fix, command string) schema.Finding {
	v.Level, v.Fix, v.Command = level, fix, command
	return v
}

// signers are the keys that can sign packages at that time.
func (f Facts) signers() (usable, known int) {
	for _, k := range f.About.Keys {
		if !slices.Contains(k.Uses, "package") || !k.Retired.IsZero() {
			continue
		}
		if known++; k.Expires.IsZero() || f.Now.Before(k.Expires) {
			usable++
		}
	}
	return usable, known
}

func (f Facts) keys() schema.Finding {
	v := finding("keys", "Signature keys exist", "")
	if f.About == nil {
		v.Detail = "the release does not say"
		return missing(v, schema.LevelSoon, "Publish with this version of bakehouse.", "bakehouse reconcile")
	}
	usable, known := f.signers()
	v.Detail = fmt.Sprintf("%d of %d can sign", usable, known)
	switch {
	case known == 0:
		return missing(v, schema.LevelMissing, "Create a signature key.", "bakehouse key create release --use package")
	case usable == 0:
		return missing(v, schema.LevelMissing, "All of them have expired: create another one.",
			"bakehouse key create release-2 --use package")
	}
	return v
}

func (f Facts) keyExpiry() schema.Finding {
	v := finding("key-expiry", "Keys do not end soon", "none ends within 90 days")
	if f.About == nil {
		v.Detail = "the release does not say"
		return v
	}
	var ends []string
	for _, k := range f.About.Keys {
		if k.Retired.IsZero() && !k.Expires.IsZero() && k.Expires.Sub(f.Now) < keysSoon {
			ends = append(ends, k.Name+" "+ending(k.Expires, f.Now))
		}
	}
	if len(ends) > 0 {
		v.Detail = strings.Join(ends, ", ")
		return missing(v, schema.LevelSoon, "Create another key, publish, and retire this one once no host needs it.",
			"bakehouse key create")
	}
	return v
}

// ending is "ends on DAY" or "ended on DAY".
func ending(at, now time.Time) string {
	verb := "ends"
	if !now.Before(at) {
		verb = "ended"
	}
	return verb + " on " + at.UTC().Format("2 Jan 2006")
}

func (f Facts) checked() schema.Finding {
	v := finding("checked", "The commit has no warnings", "none")
	if f.About == nil {
		v.Detail = "the release does not say"
		return v
	}
	n, first := f.About.Left, ""
	for _, d := range f.About.Findings {
		if n++; first == "" {
			first = d.Message
		}
	}
	if n > 0 {
		v.Detail = fmt.Sprintf("%d: %s", n, first)
		return missing(v, schema.LevelSoon, "Look at them in the config repo.", "bakehouse check")
	}
	return v
}

func (f Facts) packages() schema.Finding {
	v := finding("packages", "Packages are baked and published", fmt.Sprintf("for %d hosts", f.Hosts))
	if f.Hosts == 0 {
		return missing(v, schema.LevelMissing, "Add hosts under hosts/, a rule that selects the updater, and publish.",
			"bakehouse reconcile")
	}
	return v
}

func (f Facts) registered() schema.Finding {
	v := finding("registered", "All hosts are registered", fmt.Sprintf("%d of %d", f.Hosts-f.Unregistered, f.Hosts))
	if f.NotInGit > 0 {
		v.Detail += fmt.Sprintf("; %d more that the fleet does not have", f.NotInGit)
	}
	if f.Unregistered > 0 {
		v = missing(v, schema.LevelMissing, "Register them, or hand out a join token (bakehouse token create).",
			"bakehouse-agent register")
		v.OnHost, v.Link = true, "/hosts?state=unregistered"
	}
	return v
}

func (f Facts) enabled() schema.Finding {
	v := finding("enabled", "Updates are on", "the master switch is on")
	if !f.Policy.Enabled {
		v.Detail = "the master switch is off: no host installs anything"
		return missing(v, schema.LevelMissing, "Set updates: enabled: true in rollout.cue, and publish.",
			"bakehouse reconcile")
	}
	return v
}

func (f Facts) certificate() schema.Finding {
	v := finding("certificate", "Hosts accept the server's certificate", "")
	const fix = "Get one that names the host of the fleet's url as subjectAltName; the server notices new files."
	switch {
	case f.Certificate != "":
		v.Detail = f.Certificate
		return missing(v, schema.LevelMissing, fix, "")
	case f.Ends.IsZero():
		v.Detail = "shown by somebody else"
	default:
		v.Detail = "it " + ending(f.Ends, f.Now)
		if f.Ends.Sub(f.Now) < certificateSoon {
			return missing(v, schema.LevelSoon, fix, "")
		}
	}
	return v
}

// authorities are those by which hosts believe servers.
func (f Facts) authorities() schema.Finding {
	v := finding("authorities", "Authorities of servers do not end soon", "none ends within 30 days")
	var ends []string
	look := func(of, pem string) {
		certs, _ := schema.ParseCertificates(pem)
		for _, c := range certs {
			if c.NotAfter.Sub(f.Now) < certificateSoon {
				ends = append(ends, fmt.Sprintf("%s: %.60q %s", of, c.Subject.CommonName, ending(c.NotAfter, f.Now)))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Policy.Sites)) {
		look("site "+name, f.Policy.Sites[name].Certificates)
	}
	if d := f.Policy.Downloads; d != nil {
		look("downloads", d.Certificates)
	}
	if len(ends) > 0 {
		v.Detail = strings.Join(slices.Compact(ends), ", ")
		return missing(v, schema.LevelSoon, "List the one that follows beside it in the config repo, and publish; "+
			"only then let servers show it.", "bakehouse reconcile")
	}
	return v
}

func (f Facts) sites() schema.Finding {
	v := finding("sites", "Remote sites are heard of", "the fleet has none")
	if f.Site != "" {
		v.Detail = "the centre says; this is site " + f.Site
		return v
	}
	var heard int
	var silent, never []string
	for _, name := range slices.Sorted(maps.Keys(f.Policy.Sites)) {
		at, known := f.Heard[name]
		switch _, gone := f.Silent[name]; {
		case name == schema.CentralSite:
		case !known:
			never = append(never, name)
		case gone:
			silent = append(silent, name+" since "+at.UTC().Format(time.RFC3339))
		default:
			heard++
		}
	}
	if n := heard + len(silent) + len(never); n > 0 {
		v.Detail = fmt.Sprintf("%d of %d", heard, n)
	}
	if len(silent) > 0 {
		v.Detail += "; silent: " + strings.Join(silent, ", ")
	}
	if len(never) > 0 {
		v.Detail += "; never heard of: " + strings.Join(never, ", ")
	}
	switch {
	case len(silent) > 0:
		v = missing(v, schema.LevelMissing, "Look at its server and the network between. Meanwhile it serves its "+
			"hosts from what it has.", "systemctl status bakehouse-server")
		v.OnHost = true
	case len(never) > 0:
		return missing(v, schema.LevelSoon, "Start its server, or remove it from sites/.",
			"bakehouse serve --site "+never[0]+" --upstream URL")
	}
	return v
}

func (f Facts) metadata() schema.Finding {
	v := finding("metadata", "The signed metadata are valid", "the timestamp "+ending(f.Expires, f.Now))
	const fix = "Run it each day, in CI for example."
	switch left := f.Expires.Sub(f.Now); {
	case left <= 0:
		v.Detail += ": hosts install nothing new"
		return missing(v, schema.LevelMissing, fix, "bakehouse reconcile")
	case left < metadataSoon:
		return missing(v, schema.LevelSoon, fix, "bakehouse reconcile")
	}
	return v
}

func (f Facts) store() schema.Finding {
	v := finding("store", "The store verifies", "its newest state is served")
	if f.Trouble != "" {
		v.Detail = f.Trouble + "; the last verified release is served"
		return missing(v, schema.LevelMissing, "The server's log says more; look for what is damaged.",
			"bakehouse store fsck")
	}
	return v
}

func (f Facts) database() schema.Finding {
	v := finding("database", "The database answers", "it does")
	if f.Database != nil {
		v.Detail = "it does not: no host can register, and reports are lost"
		return missing(v, schema.LevelMissing, "The server's log says why.", "")
	}
	return v
}
