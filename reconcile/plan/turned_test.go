package plan

import (
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func TestAPathThatChangesItsKindIsToldWhereThePackageManagerCannotFollow(t *testing.T) {
	result := func(format schema.Format, paths ...string) *rules.Resolved {
		o := &fleet.Output{Plugin: "p"}
		for i, p := range paths {
			f := fleet.File{Path: p}
			if dir, ok := strings.CutSuffix(p, "/"); ok {
				f = fleet.Directory(dir, 0o755)
			}
			if link, ok := strings.CutSuffix(p, "@"); ok {
				f = fleet.SymbolicLink(link, "y")
			}
			f.Pos = fleet.Pos{File: "hosts/rules.cue", Line: i + 1, Col: 1}
			o.Files = append(o.Files, f)
		}
		return &rules.Resolved{Fleet: &fleet.Fleet{Plugins: map[string]*fleet.Plugin{"p": {}}},
			Hosts: map[string]*rules.Result{"a": {Host: &fleet.Host{Folder: &fleet.Folder{}}, Format: format,
				Recipe: &rules.Recipe{Outputs: []*fleet.Output{o}}}}}
	}
	for name, c := range map[string]struct {
		before, after []string
		format        schema.Format
		want          string
	}{
		"a folder becomes a file": {[]string{"/etc/x/conf/main"}, []string{"/a", "/etc/x/conf"}, schema.Rpm,
			"hosts/rules.cue:2:1: /etc/x/conf is a file, and is a folder in the package before (hosts concerned: 3)"},
		"a file becomes a folder": {[]string{"/etc/x/conf"}, []string{"/etc/x/conf/d/main"}, schema.Rpm,
			"hosts/rules.cue:1:1: /etc/x/conf is a folder, and is a file in the package before (hosts concerned: 3)"},
		"an empty folder becomes a file": {[]string{"/etc/x/"}, []string{"/etc/x"}, schema.Rpm,
			"hosts/rules.cue:1:1: /etc/x is a file, and is a folder in the package before (hosts concerned: 3)"},
		"a file becomes an empty folder": {[]string{"/etc/x"}, []string{"/etc/x/"}, schema.Rpm,
			"hosts/rules.cue:1:1: /etc/x is a folder, and is a file in the package before (hosts concerned: 3)"},
		"dpkg keeps a folder": {[]string{"/etc/x/conf"}, []string{"/etc/x@"}, schema.Deb,
			"hosts/rules.cue:1:1: /etc/x is a symbolic link, and is a folder in the package before, which dpkg keeps"},
		"dpkg keeps a link": {[]string{"/etc/x@"}, []string{"/etc/x/conf"}, schema.Deb,
			"hosts/rules.cue:1:1: /etc/x is a folder, and is a symbolic link in the package before, which dpkg keeps " +
				"and writes through (hosts concerned: 3)"},
		"dpkg keeps a link for an empty folder": {[]string{"/etc/x@"}, []string{"/etc/x/"}, schema.Deb,
			"hosts/rules.cue:1:1: /etc/x is a folder, and is a symbolic link in the package before, which dpkg keeps"},
		"a link that stays":     {[]string{"/etc/x@"}, []string{"/etc/x@", "/etc/xy/z"}, schema.Deb, ""},
		"dpkg can follow":       {[]string{"/etc/x/conf"}, []string{"/etc/x/conf/main"}, schema.Deb, ""},
		"a neighbour":           {[]string{"/etc/x/conf"}, []string{"/etc/x/config/m", "/etc/x/conf"}, schema.Rpm, ""},
		"a release in between":  {[]string{"/etc/y"}, []string{"/etc/x/conf/main"}, schema.Rpm, ""},
		"nothing is known":      {nil, []string{"/etc/x/conf/main"}, schema.Rpm, ""},
		"another file of a dir": {[]string{"/etc/x/conf/a"}, []string{"/etc/x/conf/b"}, schema.Rpm, ""},
	} {
		for _, before := range [][]string{c.before, slices.Concat(c.before, []string{"/z"})} {
			var turned Turned
			var was Paths
			for _, p := range before {
				p, link := strings.CutSuffix(p, "@")
				if was.Files = append(was.Files, p); link {
					was.Links = append(was.Links, p)
				}
			}
			turned.Add(was, result(c.format, c.after...), "a", 1)
			turned.Add(was, result(c.format, c.after...), "a", 2)
			err := turned.Err()
			if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		}
	}
}
