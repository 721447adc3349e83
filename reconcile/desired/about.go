package desired

import (
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
)

// Wanted is the state to publish, of a commit that is evaluated. packages has what each host's package was baked to,
// and tool is the version of this program. What it says of keys and findings is as of issued.
func (s *State) Wanted(
	packages map[plan.Package]schema.Candidate, tool string, issued time.Time,
) (publish.Wanted, error) {
	about, err := s.about(issued)
	if err != nil {
		return publish.Wanted{}, err
	}
	w := publish.Wanted{Policy: s.Policy(), Access: s.Access(), About: about,
		Release: schema.Release{Schema: 1, Commit: s.Revision.Commit, Tree: s.Revision.Tree, Tool: tool,
			Bake: bake.Version}}
	w.Assignments = make([]schema.Assignment, 0, len(s.Hosts))
	for _, host := range slices.Sorted(maps.Keys(s.Hosts)) {
		d := s.Hosts[host]
		c := packages[d.Package]
		w.Assignments = append(w.Assignments, schema.Assignment{
			Host: host, SHA256: c.SHA256, Length: c.Length,
			Target: schema.Target{Manifest: c.Manifest, Recipe: c.Recipe, Site: d.Site, Ring: d.Ring,
				Selected: d.Selected},
		})
		if d.Was != "" {
			w.Assignments[len(w.Assignments)-1].Was = strings.Split(d.Was, ",")
		}
	}
	return w, nil
}

// about is what servers show of the commit: a function of it and the time alone.
func (s *State) about(issued time.Time) (*schema.About, error) {
	f := s.Fleet
	a := &schema.About{Schema: schema.AboutSchema, Subject: s.Revision.Subject, Author: s.Revision.Author,
		SignedBy: s.Revision.Key, Keys: []schema.AboutKey{}, Findings: []schema.AboutFinding{}}
	for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
		k := f.Keys[name]
		a.Keys = append(a.Keys, schema.AboutKey{Name: k.Name, Uses: k.Uses, Expires: k.Expires, Retired: k.Retired})
	}
	for _, d := range findings(f, s.Resolved, f.KeyExpiry, issued) {
		at := ""
		if d.Pos.File != "" {
			at = d.Pos.String()
		}
		a.Findings = append(a.Findings, schema.AboutFinding{Level: d.Level, Message: d.Msg, At: at})
	}
	return a, a.Fit()
}
