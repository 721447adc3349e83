package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
	"bakehouse/serve/hosts"
	"bakehouse/serve/hosts/live"
	"bakehouse/serve/view"
)

var mia = caller{"mia", password}

// twinOf gets a twin.
func twinOf[T any](w *site, c caller, path string) (v T) {
	w.t.Helper()
	r := w.get(c, path)
	if r.status != http.StatusOK {
		w.t.Fatalf("%s: %d %s", path, r.status, r.body)
	}
	check(w.t, json.Unmarshal(r.body, &v))
	return v
}

// reporting polls with a report.
func (w *site) reporting(c caller, r schema.Report) {
	w.t.Helper()
	r.Agent, r.Platform = "1.0", schema.Platform{OS: "linux", Arch: "amd64"}
	w.poll(c, schema.PollRequest{Schema: schema.WireVersions(), Report: r})
}

func TestWhereAFleetStandsIsToldFromItsFirstPollOn(t *testing.T) {
	t.Parallel()
	f, packs := standardFleet(t)
	f.access.Users["webteam"].Permissions[schema.PermView] = []string{"web01", "web02"}
	f.publish()
	w := start(t, f)
	names := make([]string, 0, len(packs))
	for host := range packs {
		names = append(names, host)
	}
	slices.Sort(names)
	good, ill, silent, odd := names[0], names[1], names[2], names[3]
	well := schema.Report{State: schema.StateCurrent, Code: schema.CodeCurrent, Target: packs[good].digest,
		Installed: packs[good].digest, Release: 1}
	w.reporting(w.register(good), well)
	fails := schema.Report{State: schema.StateFailed, Code: outcome.CodeUnhealthy, Error: "=ill <script>",
		Target: packs[ill].digest}
	w.reporting(w.register(ill), fails)
	w.register(silent)

	o := twinOf[view.Overview](w, mia, "/status.json")
	n := len(names)
	if o.Schema != view.Schema || o.Tally.Total != n || o.Tally.Of(hosts.UpToDate) != 1 ||
		o.Tally.Of(hosts.Failed) != 1 ||
		o.Tally.Of(hosts.Updating) != 1 || o.Tally.Of(hosts.Unregistered) != n-3 || o.Release.Number != f.number {
		t.Errorf("%+v", o)
	}
	if o.Verdict.Facts != fmt.Sprintf("1 of %d hosts are up to date", n) || o.Verdict.Code != view.VerdictAttention {
		t.Errorf("%+v", o.Verdict)
	}
	if len(o.Attention) != 3 || o.Attention[0].Fact != "1 host failed to update" ||
		!strings.Contains(o.Attention[0].Cause, "=ill <script>") || o.Attention[1].Hosts != n-3 {
		t.Errorf("%+v", o.Attention)
	}

	page := twinOf[view.HostsPage](w, mia, "/hosts.json?state=failed,up-to-date&sort=host")
	if len(page.Hosts) != 2 || page.Matched != 2 || page.Total != n || page.Hosts[0].Name != good || page.Next != "" {
		t.Errorf("%+v", page)
	}
	h := twinOf[view.Host](w, mia, "/hosts/"+ill+".json")
	if h.State != hosts.Failed || h.Code != outcome.CodeUnhealthy || h.Report == nil ||
		h.Registration.User != "installer" ||
		len(h.Steps) == 0 || h.Decision[len(h.Decision)-1].Answer != view.No {
		t.Errorf("%+v", h)
	}
	rel := twinOf[view.Releases](w, mia, "/releases.json")
	if len(rel.Releases) != 2 || rel.Releases[0].Subject != "for servers only" || rel.Releases[1].Hosts != 1 {
		t.Errorf("%+v", rel)
	}
	one := twinOf[view.Release](w, mia, "/releases/1.json")
	if len(one.Packages) != n || one.Packages[0].Platform.OS != "linux" || one.Packages[0].Hosts != 1 {
		t.Errorf("%+v", one)
	}
	p := twinOf[view.Package](w, mia, "/packages/"+packs[good].digest.Hex()[:12]+".json")
	if p.SHA256 != packs[good].digest || p.Tally.Of(hosts.UpToDate) != 1 || p.Installed != 1 || p.Example != good {
		t.Errorf("%+v", p)
	}
	few := caller{"webteam", password}
	if o := twinOf[view.Overview](w, few, "/status.json"); o.Tally.Total > 2 || len(o.Series) != 0 {
		t.Errorf("who sees two hosts: %+v", o)
	}
	hidden := w.get(few, "/hosts/"+odd+".json")
	unknown := w.get(few, "/hosts/nowhere.json")
	if hidden.same() != unknown.same() || hidden.status != http.StatusNotFound {
		t.Errorf("%s\n%s", hidden.same(), unknown.same())
	}
	for path, status := range map[string]int{"/hosts.json?state=ill": 400, "/hosts.json?staet=failed": 400,
		"/hosts.json?sort=x": 400,
		"/releases/x.json":   404, "/releases/77.json": 404, "/packages/00.json": 404} {
		if r := w.get(mia, path); r.status != status || r.problem().Error == "" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := w.get(caller{"idle", password}, "/status.json"); r.status != http.StatusForbidden {
		t.Errorf("without the permission: %d %s", r.status, r.body)
	}
	if r := w.get(caller{}, "/hosts.json"); r.status != http.StatusUnauthorized {
		t.Errorf("nobody: %d %s", r.status, r.body)
	}

	w.server.live.Step(t.Context())
	w.reporting(caller{}, well) // refused: it changes nothing
	again := twinOf[view.Host](w, mia, "/hosts/"+good+".json")
	if len(again.History) == 0 || again.History[0].State != hosts.UpToDate || again.History[0].Release != 1 {
		t.Errorf("its history: %+v", again.History)
	}
	if o := twinOf[view.Overview](w, mia, "/status.json"); len(o.Series) != 1 || o.Series[0].Total != n {
		t.Errorf("the chart: %+v", o.Series)
	}
}

func TestWhatAServerKnewOfItsHostsIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	f, packs := standardFleet(t)
	f.access.Retirement = schema.NewRetirement(map[string]schema.Duration{"web01": schema.Duration(time.Nanosecond),
		"web02": 0,
		"web03": 0})
	f.publish()
	database := t.TempDir() + "/inventory.db"
	w := startWith(t, f, database, nil)
	for _, host := range []string{"web01", "web02"} {
		w.reporting(w.register(host), schema.Report{State: schema.StateCurrent, Code: schema.CodeCurrent,
			Target: packs[host].digest, Installed: packs[host].digest, Release: 1})
	}
	w.server.live.Step(t.Context())
	w.stop()
	w = startWith(t, f, database, nil)
	page := twinOf[view.HostsPage](w, mia, "/hosts.json?q=web01")
	if len(page.Hosts) != 1 || page.Hosts[0].State != hosts.Unregistered || page.Hosts[0].Code != hosts.CodeRetired {
		t.Errorf("a silent host whose folder lets it go: %+v", page.Hosts)
	}
	if h := twinOf[view.Host](w, mia, "/hosts/web02.json"); h.State != hosts.UpToDate || h.Since.IsZero() {
		t.Errorf("%+v", h)
	}
	if e, err := w.db.Host(t.Context(), "web01"); err != nil || e.End.How != live.Retired {
		t.Errorf("%+v, %v", e, err)
	}
}
