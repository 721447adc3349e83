package serve

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
)

// servePoll takes the host's report and says whether anything is new for it. An idle poll is answered 204.
func (s *Server) servePoll(x *exchange, r *http.Request, host string) {
	var q schema.PollRequest
	if !x.decode(r, &q) {
		return
	}
	version, ok := s.agree(x, q.Schema)
	if !ok {
		return
	}
	s.noteTrouble(s.releases.peek(r.Context()))
	rel, _ := s.releases.now()

	report := tidy(q.Report)
	if err := s.inventory.Report(host, inventory.Seen{At: time.Now(), Timestamp: q.Timestamp, Root: q.Root, Report: report}); err != nil {
		s.log.Error("inventory", "error", err) // a lost report is no reason to keep an update from the host
	}
	// A package that was installed by hand was never asked for here; its later differences build on it all the same.
	for _, p := range rel.candidates(host) {
		if p.SHA256 == report.Installed || p.SHA256 == report.Downloaded {
			s.remember(r.Context(), host, p)
		}
	}

	a := schema.PollAnswer{Schema: version, Root: rel.root, Hold: rel.hold(host)}
	if q.Timestamp == rel.timestamp && q.Held == (a.Hold != "") {
		x.WriteHeader(http.StatusNoContent)
		return
	}
	a.Files = s.pollFiles(rel, host, q.MetadataVersions)
	if h, ok := rel.hosts[host]; ok {
		a.Site = h.Site
	}
	x.Header().Set("Cache-Control", cacheNever)
	x.answerTo(r, a)
}

// hold says why this server holds the host back, if it does.
func (r *release) hold(host string) string {
	if _, ok := r.hosts[host]; !ok {
		return "host " + host + " is not in the fleet"
	}
	return ""
}

var states = []string{schema.StateNew, schema.StateCurrent, schema.StateHeld, schema.StateRefused, schema.StateFailed}

// tidy bounds a report and takes out what could harm whoever looks at it later.
func tidy(r schema.Report) schema.Report {
	r.Agent = clean(r.Agent, 64)
	r.Code = clean(r.Code, 40)
	r.Error = clean(r.Error, 2000)
	if !slices.Contains(states, r.State) {
		r.State = clean(r.State, 20)
	}
	if !r.Recipe.Valid() {
		r.Recipe = ""
	}
	r.Release, r.Fetched = max(0, r.Release), max(0, r.Fetched)
	if r.Details != nil {
		r.Details = tidyDetails(*r.Details)
	}
	return r
}

// tidyDetails bounds counts and lengths too: a host may not fill the inventory.
func tidyDetails(d schema.Details) *schema.Details {
	d.Interval = max(0, d.Interval)
	d.Keys = slices.Clone(d.Keys[:min(len(d.Keys), schema.MaxKeys)])
	for i, k := range d.Keys {
		d.Keys[i].Name, d.Keys[i].State = clean(k.Name, 100), clean(k.State, 20)
	}
	d.Ignored = slices.Clone(d.Ignored[:min(len(d.Ignored), schema.MaxIgnored)])
	for i, s := range d.Ignored {
		d.Ignored[i] = schema.IgnoredSignature{Key: clean(s.Key, 100), Reason: clean(s.Reason, 200)}
	}
	lines := strings.Split(strings.ToValidUTF8(tail(d.LogTail, schema.MaxLogTail), "?"), "\n")
	for i := range lines {
		lines[i] = clean(lines[i], schema.MaxLogTail)
	}
	d.LogTail = tail(strings.Join(lines, "\n"), schema.MaxLogTail)
	if d.Log != nil {
		d.Log = &schema.TreeHead{Size: max(0, d.Log.Size), Root: d.Log.Root}
	}
	return &d
}
