package serve

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/uplink"
	"bakehouse/serve/hosts"
	"bakehouse/serve/inventory"
	"bakehouse/serve/sites"
	"bakehouse/serve/view"
)

// A site that went away three days ago, with one host, up to date then.
func TestThreeDaysWithoutASiteAreSaidAndItsHostsAreNotKnownUntilItIsBack(t *testing.T) {
	f, packs := sitedFleet(t)
	f.access.Users["webteam"].Permissions[schema.PermView] = []string{"db01"}
	f.publish()
	database := filepath.Join(t.TempDir(), "inventory.db")
	db, err := inventory.Open(t.Context(), database)
	check(t, err)
	const secret = "s3cret"
	gone := time.Now().UTC().Add(-72 * time.Hour).Truncate(time.Second)
	current := schema.Report{Agent: "1", State: schema.StateCurrent, Code: schema.CodeCurrent,
		Target: packs["web01"].digest, Installed: packs["web01"].digest, Release: 1,
		Details: &schema.Details{Interval: 3600}}
	_, err = db.Register(t.Context(), inventory.Registration{Host: "web01", Secret: schema.DigestOf([]byte(secret)),
		User: "installer", At: gone.Add(-time.Hour)}, inventory.Claim{})
	check(t, err)
	check(t, db.Report("web01", inventory.Seen{At: gone.Add(-time.Minute), Address: "192.0.2.7:1", Report: current}))
	check(t, db.Flush(t.Context()))
	body, err := json.Marshal(sites.Contact{At: gone, Address: "192.0.2.1:1", User: muc.name, Instance: "one",
		Status: uplink.Status{Program: "0.9", Timestamp: 1, Hosts: 1, Speaks: schema.Versions{Min: 1, Max: 1},
			Spool: uplink.Spool{Reports: 3}, Cache: uplink.Cache{Bytes: 12_000_000, Limit: 1 << 30, Objects: 7}}})
	check(t, err)
	check(t, db.Heard(t.Context(), inventory.Site{Name: "muc", At: gone, Body: body}))
	check(t, db.Close())
	w := startWith(t, f, database, nil)

	status := func(user caller) *view.Overview {
		t.Helper()
		var o view.Overview
		check(t, json.Unmarshal(w.get(user, "/status.json").body, &o))
		return &o
	}
	codes := func(o *view.Overview) (list []string) {
		for _, s := range o.Attention {
			if s.Level == hosts.NotKnown || s.Level == hosts.Overdue {
				list = append(list, s.Code)
			}
		}
		return list
	}
	o := status(mia)
	if o.Tally.Of(hosts.UpToDate) != 0 || o.Tally.Of(hosts.NotKnown) != 1 || o.Tally.Of(hosts.Overdue) != 0 ||
		strings.Join(codes(o), " ") != hosts.CodeSiteSilent {
		t.Errorf("%+v\n%+v", o.Tally, o.Attention)
	}
	var h view.Host
	check(t, json.Unmarshal(w.get(mia, "/hosts/web01.json").body, &h))
	if h.State != hosts.NotKnown || !strings.Contains(h.Why, gone.Format(time.RFC3339)) {
		t.Errorf("%+v", h.Row)
	}
	has := func(text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("no %q in\n%s", part, text)
			}
		}
	}
	run := func(user string, args ...string) string {
		t.Helper()
		out, _ := w.commands(user, args...) // doctor fails where something is missing
		return out
	}
	has(run("mia", "site", "list"), "muc      2      0           1          1 when last heard of  3 days ago    -",
		"ber      1      0           0          -", "never")
	has(run("mia", "site", "show", "muc"), "silent: its hosts are not known", "1 when last heard of",
		"12 MB of 1073 MB, 7 objects", "1 not-known, 1 unregistered", "bakehouse host list --site muc", "version 1")
	has(run("mia", "doctor"), "missing  Remote sites are heard of: 0 of 2; silent: muc since", "never heard of: ber")
	if _, err := w.commands("mia", "site", "show", "oslo"); err == nil || !strings.Contains(err.Error(), "no site") {
		t.Error(err)
	}
	has(string(w.get(mia, schema.MetricsPath).body), `bakehouse_site_silent{site="muc"} 1`,
		`bakehouse_site_hosts{site="muc",state="not-known"} 1`, `bakehouse_site_cache_bytes{site="muc"} 1.2e+07`,
		`bakehouse_site_contact_timestamp_seconds{site="ber"} 0`)
	page := string(w.get(mia, schema.MetricsPath).body)
	if strings.Contains(page, "bakehouse_site_reports_waiting{") {
		t.Error("what waits at a silent site is not known")
	}
	// Others' hosts do not exist for who sees some.
	if o := status(caller{"webteam", password}); len(codes(o)) != 0 || o.Tally.Of(hosts.NotKnown) != 0 {
		t.Errorf("%+v\n%+v", o.Tally, o.Attention)
	}

	// It is back, with what its hosts said meanwhile.
	w.sitePoll(uplink.PollRequest{Status: uplink.Status{Timestamp: 1, Program: "1.0", Spool: uplink.Spool{Reports: 2}},
		Reports: []uplink.HostReport{{Number: 1, Host: "web01", At: time.Now(), Report: current}}})
	w.server.noteSites(t.Context())
	if o := status(mia); o.Tally.Of(hosts.UpToDate) != 1 || o.Tally.Of(hosts.NotKnown) != 0 || len(codes(o)) != 0 {
		t.Errorf("%+v\n%+v", o.Tally, o.Attention)
	}
	has(run("mia", "site", "list"), "muc      2      1           0          1, 1 behind  0 s ago       2")
	has(w.log.String(), "a site is silent", "a site is heard of again")
}
