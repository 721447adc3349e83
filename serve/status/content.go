package status

import (
	"fmt"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/plain"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// What templates get: a struct of package view as V, with what of it has to be worked out first.

type overviewPage struct {
	frame
	V              *view.Overview
	Verdict        look
	Path           []pathRing
	PathRest       int
	Chart          *chart
	Again          int // seconds until it looks for itself whether it changed
	Things         int // that need attention
	Holds          int // prerequisites that hold
	Expired        bool
	NoneRegistered bool
}

type hostsPage struct {
	frame
	V           *view.HostsPage
	Filtered    bool
	Hidden      []hiddenField
	Menus       []menu
	Chips       []filterLink
	Applied     []filterLink
	Columns     []column
	CSV         string
	Searched    string
	WithoutRest string // the same search, of all hosts
}

type hostPage struct {
	frame
	V         *view.Host
	Download  string // where its package is, for who may have it
	Log       string
	Previous  *schema.Digest
	NextCheck *time.Time
}

type releasesPage struct {
	frame
	V   *view.Releases
	Run int // hosts that run any of them
}

type releasePage struct {
	frame
	V *view.Release
}

type packagePage struct {
	frame
	V         *view.Package
	Installed int64 // bytes
}

// framed is any of them.
type framed interface{ common() *frame }

func (f *frame) common() *frame { return f }

// frameOf is the frame of a page of what head begins.
func (p *Pages) frameOf(h view.Head, tab, title string) frame {
	return frame{Title: title, Fleet: h.Fleet, Tab: tab, Now: h.At, Index: h.Timestamp, Program: h.Server}
}

// pageOf is the template for v, and what it gets.
func (p *Pages) pageOf(v any, u schema.User) (name string, page framed) {
	switch v := v.(type) {
	case *view.Overview:
		return "overview", p.overview(v)
	case *view.HostsPage:
		return "hosts", p.hosts(v)
	case *view.Host:
		return "host", p.host(v, u)
	case *view.Releases:
		r := &releasesPage{frame: p.frameOf(v.Head, "releases", "Releases"), V: v}
		for _, row := range v.Releases {
			r.Run += row.Hosts
		}
		return "releases", r
	case *view.Release:
		return "release", &releasePage{frame: p.frameOf(v.Head, "releases", fmt.Sprintf("Release %d", v.Number)), V: v}
	case *view.Package:
		page := &packagePage{frame: p.frameOf(v.Head, "releases", "Package "+v.SHA256.Short()), V: v}
		for _, f := range v.Files {
			page.Installed += f.Size
		}
		return "package", page
	}
	panic(fmt.Sprintf("no page shows a %T", v))
}

func (p *Pages) overview(v *view.Overview) *overviewPage {
	o := &overviewPage{frame: p.frameOf(v.Head, "overview", v.Verdict.Title), V: v,
		Verdict: verdictLooks[v.Verdict.Code], Path: ringPath(v.Rings, v.At), Chart: newChart(v.Series, v.Rings, v.At),
		Again: p.again, Things: len(v.Attention) + v.MoreAttention,
		Expired:        !v.Expires.IsZero() && !v.At.Before(v.Expires),
		NoneRegistered: v.Tally.Total > 0 && v.Tally.Of(hosts.Unregistered) == v.Tally.Total}
	if len(o.Path) > maxPath {
		o.Path, o.PathRest = o.Path[:maxPath], len(o.Path)-maxPath
	}
	for _, f := range v.Prerequisites {
		if f.Level == schema.LevelHolds {
			o.Holds++
		}
	}
	return o
}

func (p *Pages) hosts(v *view.HostsPage) *hostsPage {
	q := v.Query
	q.After, q.Before = "", ""
	page := &hostsPage{frame: p.frameOf(v.Head, "hosts", "Hosts"), V: v, Hidden: hidden(q), Menus: menus(v),
		Chips: chips(v), Applied: applied(q), Columns: columns(q), Searched: searched(q)}
	page.OwnSearch = true
	unsorted := q
	unsorted.Sort = ""
	page.Filtered = hostsURL(unsorted) != hostsPath
	page.CSV = strings.Replace(hostsURL(q), hostsPath, hostsPath+".csv", 1)
	if page.Searched != "" {
		page.Title = plain.Line(page.Searched, 80) + " – Hosts"
	}
	if only := (hosts.Query{Q: q.Q}); hostsURL(only) != hostsURL(unsorted) {
		page.WithoutRest = hostsURL(only)
	}
	return page
}

// Bytes of what a host says, on its own page.
const maxSaid = 4 << 10

func (p *Pages) host(v *view.Host, u schema.User) *hostPage {
	h := &hostPage{frame: p.frameOf(v.Head, "hosts", v.Name+", "+strings.ToLower(v.State.Word())), V: v}
	if !v.Target.IsZero() && u.Allows(schema.PermDownload, v.Name) {
		h.Download = hostsPath + "/" + v.Name + "/package"
	}
	if r := v.Report; r != nil {
		h.Log = r.Error
		if !r.NextCheck.IsZero() {
			h.NextCheck = &r.NextCheck
		}
		if d := r.Details; d != nil {
			if d.LogTail != "" && !strings.Contains(d.LogTail, r.Error) {
				h.Log = strings.TrimSpace(d.LogTail + "\n" + r.Error)
			} else if d.LogTail != "" {
				h.Log = d.LogTail
			}
			if !d.Previous.IsZero() {
				h.Previous = &d.Previous
			}
		}
		h.Log = plain.Tail(h.Log, maxSaid)
	}
	return h
}
