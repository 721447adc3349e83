package output

import (
	"io/fs"
	"net/url"
	"path"
	"strings"

	"bakehouse/reconcile/evaluate/archive"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// provenance is what identifies the bytes of a member of an archive with that digest.
func provenance(archive schema.Digest, member string) schema.Digest {
	return schema.DigestOf([]byte("bakehouse archive member 1\n" + archive.String() + "\n" + member))
}

// source decodes where the bytes of f come from.
func (d *decoder) source(f *fleet.File, n *result.Node) {
	if n.Kind != result.Struct {
		d.repo(f, n, "source", fleet.Pos{})
		return
	}
	where, pin, from, member := n.Get("url"), n.Get("sha256"), n.Get("archive"), n.Get("member")
	switch {
	case (where == nil) == (from == nil):
		d.refuse(n, "file %s: its source has not exactly one of url and archive", f.Path)
		return
	case where != nil && pin == nil:
		d.refuse(n, "file %s: its source has a url, but no sha256 of what the URL has", f.Path)
		return
	case from != nil && pin != nil:
		d.refuse(n, "file %s: sha256 is for what a URL has; what the repo has needs none", f.Path)
		return
	case from != nil && member == nil:
		d.refuse(n, "file %s: its source has an archive, but no member of it", f.Path)
		return
	}
	if member != nil {
		if f.Member = archive.Clean(member.Text); f.Member == "" || control(member.Text) {
			d.refuse(member, "file %s: member %s is not the path of a file inside an archive", f.Path, result.Quote(member.Text))
		}
	}
	if from != nil {
		d.repo(f, from, "archive", member.At())
		return
	}
	var err error
	f.URL, f.Size, f.Source = where.Text, -1, where.At()
	if f.SHA256, err = schema.ParseDigest(pin.Text); err != nil || f.SHA256.IsZero() {
		d.refuse(pin, "file %s: sha256 %s is not \"sha256:\" and 64 lower-case hex digits", f.Path, result.Quote(pin.Text))
	}
	if u, err := url.Parse(f.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
		u.User != nil || u.Fragment != "" || control(f.URL) {
		d.refuse(where, "file %s: url %s is not http(s)://HOST/PATH without user and fragment", f.Path, result.Quote(f.URL))
	}
	if f.Member != "" {
		f.Archive, f.SHA256, f.Source = f.SHA256, provenance(f.SHA256, f.Member), member.At()
	}
}

// tree decodes where all files below f come from.
func (d *decoder) tree(f *fleet.File, n, owns *result.Node) {
	before := len(d.pending)
	if n.Kind != result.Struct {
		d.repo(f, n, "tree", fleet.Pos{})
	} else {
		from, member := n.Get("archive"), n.Get("member")
		if from == nil || n.Get("url") != nil || n.Get("sha256") != nil {
			d.refuse(n, "file %s: a tree is a folder of the repo or of an archive there: what an archive at a URL "+
				"holds is not known before it is fetched, so commit it", f.Path)
			return
		}
		if member != nil {
			if f.Member = archive.Clean(member.Text); f.Member == "" || control(member.Text) {
				d.refuse(member, "file %s: member %s is not the path of a folder inside an archive", f.Path,
					result.Quote(member.Text))
			}
		}
		d.repo(f, from, "archive", member.At())
	}
	for i := range d.pending[before:] {
		p := &d.pending[before+i]
		p.Tree, p.Archive = true, n.Kind == result.Struct
		for _, field := range []string{"mode", "owner", "group"} {
			p.Folders = p.Folders || owns.Get(field) != nil
		}
	}
}

// repo decodes a path in the repo; field says which it is.
func (d *decoder) repo(f *fleet.File, n *result.Node, field string, member fleet.Pos) {
	f.Repo = inRepo(d.p, n.Text)
	if s := strings.TrimPrefix(n.Text, "/"); !fs.ValidPath(s) || s == "." || control(s) {
		d.refuse(n, "file %s: %s %s is not a clean path inside the repo", f.Path, field, result.Quote(n.Text))
		return
	}
	d.pending = append(d.pending, Pending{File: d.index, OS: d.in.Platform.OS, Pos: n.At(), Member: member,
		Source: field + " " + string(result.Quote(n.Text))})
}

// inRepo is where in the repo a plugin's source is: beside the plugin, or from the top if it says so or is shipped.
func inRepo(p *fleet.Plugin, name string) string {
	if rest, ok := strings.CutPrefix(name, "/"); ok || p.Shipped {
		return rest
	}
	return path.Join(p.Home, name)
}
