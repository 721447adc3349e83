// Package viewtest has a made-up fleet with something of everything that a server answers, for tests of what renders
// it.
package viewtest

import (
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// All has one of each answer.
type All struct {
	Overview view.Overview
	Page     view.HostsPage
	Host     view.Host
	Releases view.Releases
	Release  view.Release
	Package  view.Package
}

// Now is the time of the example.
func Now() time.Time { return time.Date(2026, 11, 28, 16, 58, 4, 0, time.UTC) }

func ago(d time.Duration) time.Time { return Now().Add(-d) }

func sum(s string) schema.Digest { return schema.DigestOf([]byte(s)) }

// tally is of hosts in the order of hosts.States.
func tally(n ...int) (t view.Tally) {
	for i, s := range hosts.States() {
		if s == hosts.NotInGit {
			continue
		}
		c := view.StateCount{State: s}
		if i < len(n) {
			c.Hosts = n[i]
		}
		t.Total += c.Hosts
		t.States = append(t.States, c)
	}
	return t
}

// Rows are a host in each state.
func Rows() []hosts.Row {
	why := map[hosts.State]string{
		hosts.Unregistered: "It has never registered",
		hosts.Rejected:     "No valid signature found",
		hosts.Failed:       "Release 1042 failed here: the health check of node_exporter failed (exit status 1)",
		hosts.Withheld:     "The server could not be reached through the proxy",
		hosts.Blocked:      "dpkg: another program holds the lock",
		hosts.Overdue:      "Silent for 2 h 56 min; it checks every hour",
		hosts.NotKnown:     "As of then: site sin is silent",
		hosts.Waiting:      "Ring critical installs this package from 2026-11-29T16:10:00Z",
		hosts.Updating:     "Release 1042",
		hosts.UpToDate:     "Up to date",
		hosts.NotInGit:     "Git has no host of this name; installer registered it on 3 Aug",
	}
	codes := map[hosts.State]string{hosts.Unregistered: "unregistered", hosts.Rejected: "unverified",
		hosts.Failed: "unhealthy", hosts.Withheld: "unreachable", hosts.Blocked: "host-condition",
		hosts.Overdue:  "silent",
		hosts.NotKnown: "site-silent", hosts.Waiting: "waiting", hosts.Updating: "install", hosts.UpToDate: "current",
		hosts.NotInGit: "not-in-git"}
	var rows []hosts.Row
	for i, s := range hosts.States() {
		r := hosts.Row{Name: "web02" + string(rune('0'+i/10)) + string(rune('0'+i%10)), State: s, Code: codes[s],
			Why: why[s], Since: ago(3 * time.Hour), Site: "muc", Ring: "broad",
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Program: "1.4.2", Target: sum("1042"),
			TargetRelease: 1042, Downloaded: sum("1042"), Installed: sum("1040"), Release: 1040,
			Checked: ago(time.Duration(i*7) * time.Minute), Updated: ago(48 * time.Hour)}
		switch s {
		case hosts.UpToDate:
			r.Installed, r.Release = r.Target, 1042
		case hosts.Unregistered:
			r.Downloaded, r.Installed, r.Release, r.Checked, r.Updated = schema.Digest{}, schema.Digest{}, 0,
				time.Time{}, time.Time{}
			r.Platform, r.Program = schema.Platform{}, ""
		case hosts.Waiting:
			r.Ring, r.Turn = "critical", Now().Add(23*time.Hour)
			r.Marks = []hosts.Mark{hosts.Paused, hosts.Drift}
		case hosts.Failed:
			r.Error = "release 1042 failed here: node_exporter: exit status 1 <b>not bold</b>"
			r.Marks = []hosts.Mark{hosts.RolledBack}
		case hosts.Rejected:
			r.Error, r.Critical = "No valid signature found", true
			r.Marks = []hosts.Mark{hosts.Cloned}
		case hosts.NotInGit:
			r.Target, r.TargetRelease, r.Ring, r.Site = schema.Digest{}, 0, "", ""
		}
		rows = append(rows, r)
	}
	return rows
}

// Example is a fleet in the middle of a rollout.
func Example() All {
	head := view.Head{Schema: view.Schema, At: Now(), Fleet: "harbour", Server: "1.4.2", Timestamp: 2318,
		Expires: Now().Add(6 * 24 * time.Hour)}
	newest := view.ReleaseRow{Number: 1042, Newest: true, Commit: "8c41e0b2d7f3aa01e0b2d7f38c41e0b2d7f3aa01",
		Subject: "Raise the interval of the database hosts to 2 h", Author: "jonas", CommitKey: "SHA256:qZ0xkUeYp8",
		Issued: ago(25 * time.Hour), Tool: "1.4.2", PackageCount: 214, SignedBy: []string{"release-2", "hsm-muc"},
		Hosts: 71882, Rollout: "rolling", Text: "canary, early and broad are open; critical waits"}
	halted := view.ReleaseRow{Number: 1041, Subject: "node_exporter 1.9.2", Author: "mia",
		Commit: "51d20c9e7ab40c9e7ab451d20c9e7ab451d20c9e", Issued: ago(48 * time.Hour), Hosts: 12,
		Rollout: "superseded"}
	done := view.ReleaseRow{Number: 1040, Subject: "Accept key release-2 everywhere", Author: "mia",
		Commit: "f07b3a1155c83a1155c8f07b3a1155c8f07b3a11", Issued: ago(50 * time.Hour), Hosts: 27308, Rollout: "done"}
	reports, waiting := 0, 41
	rows := Rows()
	a := All{
		Overview: view.Overview{Head: head,
			Verdict: view.Verdict{Code: view.VerdictAttention, Title: "Rolling out, 818 hosts need a look", Look: 818,
				Facts:  "71,882 of 100,214 hosts are up to date",
				Detail: "27,514 more are on their way, or wait as rollout.cue says."},
			Tally:    tally(71882, 1204, 26310, 0, 0, 0, 512, 41, 3, 262),
			NotInGit: 18,
			Attention: []view.Sentence{
				{Code: "unverified", Level: hosts.Rejected, Hosts: 3, Fact: "3 hosts reject release 1042",
					Cause: "None of its signatures is by a key that they accept.",
					Steps: []view.Step{{Text: "See the 3 hosts", Link: "/hosts?state=rejected&code=unverified"},
						{Text: "Sign with the key that they know",
							Command: "bakehouse reconcile --sign-only --key release-1"}}},
				{Code: "host-condition", Level: hosts.Blocked, Hosts: 33,
					Fact:  "33 hosts cannot install release 1042 yet",
					Cause: "Another program holds the lock of dpkg. They try again by themselves.",
					Steps: []view.Step{{Text: "See the 33 hosts", Link: "/hosts?state=blocked"}}},
				{Code: "unregistered", Level: hosts.Unregistered, Hosts: 262, Fact: "262 hosts have never registered",
					Steps: []view.Step{{Text: "On the host, once", OnHost: true,
						Command: "bakehouse-agent register --host web0417 --user installer"}}},
			},
			MoreAttention: 2, Release: &newest,
			Rings: []view.Ring{
				{Name: "canary", State: view.RingDone, Opened: ago(25 * time.Hour), Tally: tally(212, 0, 0, 0, 0, 0,
					1, 1)},
				{Name: "early", State: view.RingDone, Opened: ago(21 * time.Hour), Tally: tally(4961, 0, 0, 0, 0, 0,
					21, 12, 0, 6),
					Gate: &view.Gate{State: view.RingOpen, Since: ago(21 * time.Hour),
						For: "saw 1 of 214 fail (0.5 %, limit 1 %), none reject, for 4 h (asked for: 2 h)",
						Saw: &view.Saw{Hosts: 214, Healthy: 212, Failed: 1, At: ago(21 * time.Hour)}}},
				{Name: "broad", State: view.RingHalted, Opened: ago(13 * time.Hour),
					Tally: tally(66209, 1204, 0, 0, 0, 0, 410, 28, 3, 146), Gate: &view.Gate{State: view.RingHalted,
						Since: ago(13 * time.Hour), For: "31 of 1,480 failed (2.1 %, limit 1 %)", By: "mia"}},
				{Name: "critical", State: view.RingWaiting, Delay: schema.Duration(48 * time.Hour),
					NotBefore: Now().Add(23 * time.Hour), Tally: tally(500, 0, 25710, 0, 0, 0, 80, 0, 0, 110),
					Gate: &view.Gate{State: view.RingWaiting, For: "98 % of broad on release 1042 (97.4 % now)"}},
				{Tally: tally(0, 0, 600)},
			},
			Sites: []view.Site{{Name: "muc", URL: "https://bakehouse.example:8443", Central: true, Contact: Now(),
				Tally: tally(42000, 600, 15000, 0, 0, 0, 132, 30, 3, 100), Timestamp: 2318, Reports: &reports,
				Program: "1.4.2"},
				{Name: "nyc", URL: "https://nyc.bakehouse.example:8443", Contact: ago(24 * time.Second),
					Tally: tally(21632, 564, 8336, 0, 0, 0, 416, 19, 1, 82), Timestamp: 2317, Behind: 1,
					Program: "1.4.2", Reports: &waiting, Oldest: ago(30 * time.Second),
					Problem: "another server at 198.51.100.9:40112 goes by the name of site nyc: give it another " +
						"name, or end it"},
				{Name: "oslo", URL: "https://oslo.bakehouse.example:8443", Tally: tally(0, 0, 0, 0, 0, 0, 0, 0, 0, 12)},
				{Name: "sin", URL: "https://sin.bakehouse.example:8443", Silent: true, Contact: ago(3 * time.Hour),
					Tally: tally(0, 0, 0, 11064), Timestamp: 2316, Program: "1.4.1"}},
			Versions: []view.Version{{Release: 1042, Newest: true, Hosts: 71882}, {Release: 1041, Hosts: 12},
				{Release: 1040, Hosts: 27308}, {Hosts: 280}},
			Programs: []view.Count{{Value: "1.4.2", Hosts: 97340}, {Value: "1.4.1", Hosts: 2594}, {Hosts: 280}},
			Prerequisites: []schema.Finding{
				{Code: "keys", Level: schema.LevelHolds, Title: "Signature keys exist",
					Detail: "2 of 3 can sign in this fleet: release-2, hsm-muc"},
				{Code: "key-expiry", Level: schema.LevelSoon, Title: "Keys do not end soon",
					Detail: "release-1 ends on 20 Feb 2027", Fix: "When no host needs it any more, retire it.",
					Command: "bakehouse key retire release-1"},
				{Code: "registered", Level: schema.LevelMissing, Title: "All hosts are registered",
					Detail: "99,952 of 100,214", Fix: "Register them, or hand out a join token.",
					Command: "bakehouse-agent register", OnHost: true, Link: "/hosts?state=unregistered"},
			},
		},
		Page: view.HostsPage{Head: head, Query: hosts.Query{Q: "web", Ring: []string{"broad"}}, Total: 100214,
			NotInGit: 18,
			Matched:  24120, Hosts: rows, First: "q=web&ring=broad", Prev: "q=web&ring=broad&before=eA",
			Next: "q=web&ring=broad&after=eQ",
			Facets: view.Facets{
				Ring: []view.Count{{Value: "canary", Hosts: 52}, {Value: "early", Hosts: 1204},
					{Value: "broad", Hosts: 16480, Active: true}, {Value: "none", Label: "no ring", Hosts: 144}},
				Site: []view.Count{{Value: "muc", Hosts: 14010}, {Value: "sin", Hosts: 2650}},
				Release: []view.Count{{Value: "1042", Hosts: 17297}, {Value: "1040", Hosts: 6290}, {Value: "none",
					Hosts: 65}},
				Platform: []view.Count{{Value: "linux/amd64", Hosts: 23772}, {Value: "linux/arm64", Hosts: 348},
					{Value: "solaris/sparc", Hosts: 0}},
			}},
		Host: view.Host{Head: head, Row: rows[8], Newest: 1042,
			Heading: "No signature on its package is by a key that this host accepts",
			Detail:  "Release 1040, which runs here, accepts release-1 alone.",
			Steps: []view.Step{{Text: "Sign release 1042 with the key that this host knows",
				Command: "bakehouse reconcile --sign-only --key release-1"},
				{Text: "Ask now, on the host", Command: "bakehouse-agent update -v", OnHost: true}},
			Decision: []view.Question{
				{Code: "switch", Text: "Updates are on for the fleet", Answer: view.Yes, Source: "signed policy"},
				{Code: "ring", Text: "It is in ring broad, the third of four", Answer: view.Yes,
					Source: "signed policy"},
				{Code: "signatures", Text: "Does it carry a signature by a key that the host accepts?", Answer: view.No,
					Detail: "release-2: key is unknown; hsm-muc: key is unknown", Source: "the host"},
				{Code: "install", Text: "Installed, and its health check passes", Answer: view.NotAsked}},
			Report: &schema.Report{Agent: "1.4.1", State: schema.StateRefused, Code: "unverified",
				Error: "No valid signature found", Target: sum("1042"), Installed: sum("1040"), Release: 1040,
				Details: &schema.Details{Interval: 3600, Previous: sum("1039"),
					Ignored: []schema.IgnoredSignature{{Key: "release-2", Reason: "key is unknown"}},
					LogTail: "target f934058e88441cd0 (release 1042), 2 signatures\nNo valid signature found"}},
			History: []view.Change{
				{At: ago(17 * time.Minute), State: hosts.Rejected, Code: "unverified", Release: 1040,
					Text: "No valid signature found"},
				{At: ago(55 * time.Hour), State: hosts.UpToDate, Code: "current", Release: 1040}},
			Keys: []schema.KeyState{{Name: "release-1", State: "valid",
				Expires: Now().Add(83 * 24 * time.Hour)}},
			Registration: &view.Registration{At: ago(26 * 24 * time.Hour), User: "installer", Program: "1.4.0"},
			Machines: []view.Machine{{ID: "0f3a", First: ago(26 * 24 * time.Hour), Last: ago(17 * time.Minute),
				Address: "10.1.4.3:40122"},
				{ID: "9b77", First: ago(time.Hour), Last: ago(time.Hour), Address: "10.1.4.9:40122"}},
			Holds: view.Holds{Root: 3, Timestamp: 2318}, Was: []string{"web0203-old"},
			Candidates: []schema.Candidate{{SHA256: sum("1042"), Release: 1042, Since: ago(25 * time.Hour),
				Length: 3 << 20}},
			SiteURL: "https://bakehouse.example:8443", Explain: "bakehouse explain web0208"},
		Releases: view.Releases{Head: head, Releases: []view.ReleaseRow{newest, halted, done}, Next: "before=1040"},
		Release: view.Release{Head: head, ReleaseRow: newest,
			Plan:    &schema.AboutPlan{Hosts: 100214, Package: 5292, Attributes: 3},
			Changes: []string{"5,292 of 100,214 hosts get another package", "3 hosts have other attributes"},
			Findings: []schema.AboutFinding{{Level: "warning", Message: "key release-1 ends in 83 days",
				At: "fleet.cue:12:4"}},
			Keys: []schema.AboutKey{{Name: "release-2", Uses: []string{"package"},
				Expires: Now().Add(700 * 24 * time.Hour)}},
			Compare: "bakehouse plan --base 51d20c9e7ab4 --ref 8c41e0b2d7f3"},
	}
	p := view.PackageRow{SHA256: sum("1042"), Release: 1042, Platform: schema.Platform{OS: "linux", Arch: "amd64"},
		Format: schema.Deb, Name: "bakehouse-agent", Version: "1042.0", Size: 3900000, Hosts: 54288,
		SignedBy: []string{"release-2", "hsm-muc"}}
	a.Release.Packages = []view.PackageRow{p}
	accepted := 54286
	a.Package = view.Package{Head: head, PackageRow: p, Manifest: sum("m"), Recipe: "454349e422f05297", Bake: 13,
		Tally: tally(40102, 601, 13270, 0, 0, 0, 90, 20, 2, 203), Installed: 40102, Plugins: []string{"node_exporter",
			"updater"},
		Files: []view.File{
			{ContentsEntry: schema.ContentsEntry{Path: "/etc/bakehouse/agent.json", Plugin: "updater", Mode: 0o600,
				Size:   812,
				SHA256: sum("f")}},
			{ContentsEntry: schema.ContentsEntry{Path: "/usr/bin/node_exporter", Plugin: "node_exporter", Mode: 0o755,
				Size: 21800000, SHA256: sum("g")}, Shared: true}},
		Signatures: []view.Signature{{Key: "release-2", KeyID: "a1b2c3", Hosts: &accepted}, {Key: "hsm-muc",
			KeyID: "d4e5f6"}},
		Example: "web0201"}
	return a
}
