package status

import (
	"net/url"
	"slices"
	"strings"

	"bakehouse/schema/plain"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// The URL of a list of hosts is all of its state, so that it can be kept, sent and gone back to.
const hostsPath = "/hosts"

// field is one that a query filters by.
type field struct {
	key, title string
	of         func(*hosts.Query) *[]string
}

var fields = []field{
	{"state", "State", func(q *hosts.Query) *[]string { return &q.State }},
	{"ring", "Ring", func(q *hosts.Query) *[]string { return &q.Ring }},
	{"site", "Site", func(q *hosts.Query) *[]string { return &q.Site }},
	{"release", "Release", func(q *hosts.Query) *[]string { return &q.Release }},
	{"platform", "Platform", func(q *hosts.Query) *[]string { return &q.Platform }},
	{"package", "Package", func(q *hosts.Query) *[]string { return &q.Package }},
	{"code", "Cause", func(q *hosts.Query) *[]string { return &q.Code }},
	{"agent", "Host program", func(q *hosts.Query) *[]string { return &q.Agent }},
	{"plugin", "Plugin", func(q *hosts.Query) *[]string { return &q.Plugin }},
	{"file", "File", func(q *hosts.Query) *[]string { return &q.File }},
}

func fieldOf(key string) field {
	return fields[slices.IndexFunc(fields, func(f field) bool { return f.key == key })]
}

// inQuery leaves the characters alone that need no escape in a query, so that people can read and write it.
var inQuery = strings.NewReplacer("%2F", "/", "%2C", ",", "%3A", ":", "%40", "@", "%2A", "*", "%7E", "~")

func escaped(s string) string { return inQuery.Replace(url.QueryEscape(s)) }

// hostsURL is where the list of a query is, from its start.
func hostsURL(q hosts.Query) string {
	var parts []string
	add := func(key, value string) {
		if value != "" {
			parts = append(parts, key+"="+escaped(value))
		}
	}
	add("q", q.Q)
	for _, f := range fields {
		add(f.key, strings.Join(*f.of(&q), ","))
	}
	add("sort", q.Sort)
	if len(parts) == 0 {
		return hostsPath
	}
	return hostsPath + "?" + strings.Join(parts, "&")
}

// hostsWith is the list of hosts of one value of a field.
func hostsWith(key, value string) string { return hostsPath + "?" + key + "=" + escaped(value) }

// with is the query with other values of a field.
func with(q hosts.Query, key string, values ...string) hosts.Query {
	*fieldOf(key).of(&q) = values
	return q
}

// filterLink leads to a list with another filter.
type filterLink struct {
	Label, URL string
	Hosts      int
	Active     bool
	State      hosts.State // of chips
}

// chips are the states with how many hosts each has, all of them first.
func chips(p *view.HostsPage) []filterLink {
	all := 0
	var links []filterLink
	for _, c := range p.Facets.State {
		all += c.Hosts
		s := hosts.State(c.Value)
		links = append(links, filterLink{Label: s.Word(), URL: hostsURL(with(p.Query, "state", c.Value)),
			Hosts: c.Hosts, Active: c.Active, State: s})
	}
	first := filterLink{Label: "All", URL: hostsURL(with(p.Query, "state")), Hosts: all,
		Active: len(p.Query.State) == 0}
	return append([]filterLink{first}, links...)
}

// menu is the values of a field; following one adds it, or takes it away.
type menu struct {
	Title string
	Links []filterLink
}

func menus(p *view.HostsPage) (found []menu) {
	for _, m := range []struct {
		key    string
		counts []view.Count
	}{{"ring", p.Facets.Ring}, {"site", p.Facets.Site}, {"release", p.Facets.Release},
		{"platform", p.Facets.Platform}} {
		f := fieldOf(m.key)
		out := menu{Title: f.title}
		for _, c := range m.counts {
			values := slices.Clone(*f.of(&p.Query))
			if c.Active {
				values = slices.DeleteFunc(values, func(v string) bool { return v == c.Value })
			} else {
				values = append(values, c.Value)
			}
			l := filterLink{Label: c.Label, URL: hostsURL(with(p.Query, m.key, values...)), Hosts: c.Hosts,
				Active: c.Active}
			if l.Label == "" {
				l.Label = c.Value
			}
			out.Links = append(out.Links, l)
		}
		if len(out.Links) > 0 {
			found = append(found, out)
		}
	}
	return found
}

// applied are the filters that are set, each with where it is not. States have their chips.
func applied(q hosts.Query) (links []filterLink) {
	if q.Q != "" {
		less := q
		less.Q = ""
		links = append(links, filterLink{Label: "Search: " + q.Q, URL: hostsURL(less)})
	}
	for _, f := range fields {
		if values := *f.of(&q); len(values) > 0 && f.key != "state" {
			links = append(links, filterLink{Label: f.title + ": " + strings.Join(values, ", "),
				URL: hostsURL(with(q, f.key))})
		}
	}
	return links
}

// hidden are the fields of a form that searches within what is filtered.
func hidden(q hosts.Query) (found []hiddenField) {
	for _, f := range fields {
		if values := *f.of(&q); len(values) > 0 {
			found = append(found, hiddenField{f.key, strings.Join(values, ",")})
		}
	}
	if q.Sort != "" {
		found = append(found, hiddenField{"sort", q.Sort})
	}
	return found
}

type hiddenField struct{ Name, Value string }

// column is a head of the table of hosts.
type column struct {
	Title, Hint string
	URL         string // empty: it does not sort
	Sorted      string // ascending, descending or empty
}

func columns(q hosts.Query) []column {
	all := []struct{ key, title, hint string }{
		{"host", "Host", ""}, {"site", "Site", ""}, {"ring", "Ring", ""}, {"state", "State", ""},
		{"", "Target", "The package that signed metadata give it"}, {"", "Downloaded", "By the host's report"},
		{"", "Installed", "By the host's report"},
		{"check", "Last check", "The host's last poll, by the server's clock"},
		{"update", "Last update", "Its last installation, by its own report"}, {"", "Why, or what went wrong", ""},
	}
	found := make([]column, len(all))
	for i, c := range all {
		found[i] = column{Title: c.title, Hint: c.hint}
		if c.key == "" {
			continue
		}
		to := q
		to.Sort = c.key
		switch q.Sort {
		case c.key:
			found[i].Sorted, to.Sort = "ascending", "-"+c.key
		case "-" + c.key:
			found[i].Sorted = "descending"
		}
		found[i].URL = hostsURL(to)
	}
	return found
}

// searched is what a list is of, for its caption and where it is empty: "web in ring canary".
func searched(q hosts.Query) string {
	var parts []string
	if q.Q != "" {
		parts = append(parts, q.Q)
	}
	for _, f := range fields {
		if values := *f.of(&q); len(values) > 0 {
			parts = append(parts, strings.ToLower(f.title)+" "+strings.Join(values, " or "))
		}
	}
	return plain.Line(strings.Join(parts, ", "), plain.MaxName)
}

// lookURL are the hosts that need a look.
var lookURL = hostsURL(hosts.Query{State: []string{string(hosts.Rejected), string(hosts.Failed),
	string(hosts.Withheld), string(hosts.Blocked), string(hosts.Overdue), string(hosts.Unregistered)}})
