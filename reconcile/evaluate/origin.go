package evaluate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"cuelang.org/go/cue"

	"bakehouse/reconcile/evaluate/archive"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// originOf is what stands for the bytes of a member of an archive with that digest.
func originOf(archive schema.Digest, member string) schema.Digest {
	return schema.DigestOf([]byte("bakehouse archive member 1\n" + archive.String() + "\n" + member))
}

// pending is a source of the repo that is still to be read: that may take longer than an evaluation is given.
type pending struct {
	file        int // in Output.Files
	pos, member fleet.Pos
	says        string // the source, as the plugin gives it
}

// source decodes where the bytes of f come from.
func (d *decoder) source(f *fleet.File, n *node) {
	if n.kind != cue.StructKind {
		d.repo(f, n, "source", fleet.Pos{})
		return
	}
	where, pin, from, member := n.get("url"), n.get("sha256"), n.get("archive"), n.get("member")
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
		if f.Member = archive.Clean(member.text); f.Member == "" || control(member.text) {
			d.refuse(member, "file %s: member %s is not the path of a file inside an archive", f.Path, quote(member.text))
		}
	}
	if from != nil {
		d.repo(f, from, "archive", member.at())
		return
	}
	var err error
	f.URL, f.Size, f.Source = where.text, -1, where.at()
	if f.SHA256, err = schema.ParseDigest(pin.text); err != nil || f.SHA256.IsZero() {
		d.refuse(pin, "file %s: sha256 %s is not \"sha256:\" and 64 lower-case hex digits", f.Path, quote(pin.text))
	}
	if u, err := url.Parse(f.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" || control(f.URL) {
		d.refuse(where, "file %s: url %s is not http(s)://HOST/PATH without user and fragment", f.Path, quote(f.URL))
	}
	if f.Member != "" {
		f.Archive, f.SHA256, f.Source = f.SHA256, originOf(f.SHA256, f.Member), member.at()
	}
}

// repo decodes a path in the repo; field says which it is.
func (d *decoder) repo(f *fleet.File, n *node, field string, member fleet.Pos) {
	f.Repo = d.p.source(n.text)
	if s := strings.TrimPrefix(n.text, "/"); !fs.ValidPath(s) || s == "." || control(s) {
		d.refuse(n, "file %s: %s %s is not a clean path inside the repo", f.Path, field, quote(n.text))
		return
	}
	d.pending = append(d.pending, pending{d.index, n.at(), member, field + " " + string(quote(n.text))})
}

// source is where in the repo a plugin's source is: beside the plugin, or from the top if it says so or is shipped.
func (p *plugin) source(name string) string {
	if rest, ok := strings.CutPrefix(name, "/"); ok || p.Shipped {
		return rest
	}
	return path.Join(p.Home, name)
}

// settle takes size and digest of what the output takes from the repo.
func (p *plugin) settle(ctx context.Context, out *fleet.Output, sources []pending) error {
	var ps fleet.Problems
	for _, s := range sources {
		f := &out.Files[s.file]
		err := p.sources.fill(ctx, f)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		at := s.pos
		if m := (*archive.MissingError)(nil); errors.As(err, &m) {
			at = s.member
		}
		found := fleet.Problem{Pos: at, Msg: fmt.Sprintf("plugin %s: file %s: %s: %v", p.Name, f.Path, s.says, err), Hint: fault.HintOf(err)}
		if found.Pos.IsZero() {
			found.Pos = fleet.Pos{File: p.Home}
		}
		ps = append(ps, found)
	}
	return ps.Err()
}
