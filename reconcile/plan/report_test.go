package plan

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"

	"pgregory.net/rapid"
)

var linux = schema.Platform{OS: "linux", Arch: "amd64"}

func textFile(path, text string, mode fs.FileMode) fleet.File {
	return fleet.File{Path: path, Mode: mode, Content: []byte(text), SHA256: schema.DigestOf([]byte(text)), Size: int64(len(text))}
}

// side gives each host the outputs, and the ring that it names.
func side(hosts map[string][]*fleet.Output, rings map[string]string) Side {
	s := Side{Endpoint: Endpoint{Name: "a side"}, Hosts: map[string]Published{}, Policy: schema.Policy{Schema: 1, Fleet: "f"},
		Resolved: &rules.Resolved{Fleet: &fleet.Fleet{}, Hosts: map[string]*rules.Result{}, Recipes: map[schema.RecipeID]*rules.Recipe{}}}
	folder := &fleet.Folder{}
	for host, outputs := range hosts {
		r := &rules.Recipe{Platform: linux, Outputs: outputs}
		var id strings.Builder
		for _, at := range slices.SortedFunc(maps.Keys(contents(r, nil)), place.compare) {
			c := contents(r, nil)[at]
			fmt.Fprintf(&id, "%v %s %s\n", at, c.Mode, c.SHA256)
		}
		r.ID = schema.RecipeID(schema.DigestOf([]byte(id.String())).Short())
		s.Resolved.Recipes[r.ID] = r
		s.Resolved.Hosts[host] = &rules.Result{Host: &fleet.Host{Name: host, Folder: folder, Pos: fleet.Pos{File: "hosts/hosts.cue", Line: 1}}, Platform: linux, Format: schema.Deb, Recipe: r}
		s.Hosts[host] = Published{Desired: Desired{Package: Package{Recipe: r.ID, Platform: linux, Format: schema.Deb, Bake: 1}, Ring: rings[host], Selected: true}}
	}
	return s
}

func desired(s Side) map[string]Desired {
	out := map[string]Desired{}
	for name, h := range s.Hosts {
		out[name] = h.Desired
	}
	return out
}

func build(before, after Side) *Report {
	return Build(before, after, Diff(before.Hosts, desired(after)))
}

func drawOutputs(t *rapid.T, label string) []*fleet.Output {
	var outputs []*fleet.Output
	text := rapid.SampledFrom([]string{"", "one\n", "one\ntwo\n", "two", "one\nthree\ntwo\n", "\x00binary", strings.Repeat("line\n", 30) + "end\n"})
	for _, plugin := range []string{"p", "q"} {
		if !rapid.Bool().Draw(t, label+plugin) {
			continue
		}
		o := &fleet.Output{Plugin: plugin, Scripts: map[string]string{}}
		for _, name := range []string{"/etc/a", "/usr/bin/b", "/usr/share/doc/c"} {
			if rapid.Bool().Draw(t, label+plugin+name) {
				mode := rapid.SampledFrom([]fs.FileMode{0o644, 0o755, 0o600}).Draw(t, "mode")
				o.Files = append(o.Files, textFile(name+plugin, text.Draw(t, "text"), mode))
			}
		}
		if rapid.Bool().Draw(t, label+plugin+"service") {
			o.Services = append(o.Services, fleet.Service{Name: "s" + plugin, Exec: "/usr/bin/b", User: rapid.SampledFrom([]string{"", "nobody"}).Draw(t, "user")})
		}
		if rapid.Bool().Draw(t, label+plugin+"interval") {
			o.Intervals = append(o.Intervals, fleet.Interval{Name: "i" + plugin, Exec: "/usr/bin/b", Every: schema.Duration(rapid.IntRange(1, 2).Draw(t, "every")) * 3600e9})
			o.Users = append(o.Users, fleet.User{Name: "u" + plugin, Home: rapid.SampledFrom([]string{"/", "/srv"}).Draw(t, "home")})
			o.Groups = []string{"g"}
			o.Relations.Deb.Depends = []fleet.Relation{{Name: rapid.SampledFrom([]string{"bash", "dash"}).Draw(t, "needed")}}
		}
		if rapid.Bool().Draw(t, label+plugin+"script") {
			o.Scripts["postinst"] = rapid.SampledFrom([]string{"true\n", "false\n"}).Draw(t, "script")
		}
		if rapid.Bool().Draw(t, label+plugin+"health") {
			o.Health = &schema.HealthCheck{Plugin: plugin, Command: []string{rapid.SampledFrom([]string{"/bin/true", "/bin/false"}).Draw(t, "health")}}
		}
		outputs = append(outputs, o)
	}
	return outputs
}

func drawSide(t *rapid.T, label string) Side {
	hosts, rings := map[string][]*fleet.Output{}, map[string]string{}
	for _, host := range []string{"a", "b", "c", "d"} {
		if rapid.Bool().Draw(t, label+host) {
			hosts[host] = drawOutputs(t, label)
			rings[host] = rapid.SampledFrom([]string{"early", "late"}).Draw(t, "ring")
		}
	}
	return side(hosts, rings)
}

// what is the text of everything in a host's package, by place; what is no text is its digest.
func what(s *Side, host string) map[place]string {
	out := map[place]string{}
	for at, c := range contents(s.recipe(s.Hosts[host].Recipe), nil) {
		out[at] = c.Mode + " " + told(c)
	}
	return out
}

func told(c *Content) string {
	if text, ok := c.read(); ok {
		return string(text)
	}
	return c.SHA256.String()
}

// apply makes of a host's package what the items say. The text of what changed comes from the diff alone.
func apply(t *rapid.T, was map[place]string, items []Item) map[place]string {
	is := maps.Clone(was)
	for _, it := range items {
		at := place{it.Kind, it.Plugin, it.Name}
		old, had := is[at]
		if had != (it.Action != ActionAdded) {
			t.Fatalf("%s %s was there: %t", at, it.Action, had)
		}
		if it.Action == ActionRemoved {
			delete(is, at)
			continue
		}
		_, old, _ = strings.Cut(old, " ")
		switch {
		case it.Known:
			is[at] = it.After.Mode + " " + told(it.After)
		case it.Before != nil && it.Before.SHA256 == it.After.SHA256 && it.Before.Mode != "0600" && it.After.Mode != "0600":
			is[at] = it.After.Mode + " " + old
		case it.Diff == "":
			is[at] = it.After.Mode + " " + told(it.After)
			if _, ok := it.After.read(); ok && it.After.Size > 0 && (it.Before == nil || len(old) == 0 || !strings.HasPrefix(old, "sha256:")) {
				t.Fatalf("%v: no diff of texts %q and %q", at, old, told(it.After))
			}
		default:
			is[at] = it.After.Mode + " " + patch(t, old, it.Diff)
		}
	}
	return is
}

// patch applies a unified diff.
func patch(t *rapid.T, old, diff string) string {
	from := strings.SplitAfter(old, "\n")
	var b strings.Builder
	at := 0
	var last byte
	for line := range strings.Lines(diff) {
		switch line[0] {
		case '@':
			var start, n int
			if _, err := fmt.Sscanf(line, "@@ -%d,%d", &start, &n); err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				start--
			}
			for ; at < start; at++ {
				b.WriteString(from[at])
			}
		case ' ', '-':
			if strings.TrimSuffix(from[at], "\n") != strings.TrimSuffix(line[1:], "\n") {
				t.Fatalf("line %d is %q, the diff says %q", at, from[at], line)
			}
			if line[0] == ' ' {
				b.WriteString(line[1:])
			}
			at++
			last = line[0]
		case '+':
			b.WriteString(line[1:])
			last = '+'
		case '\\':
			if last != '-' {
				s := strings.TrimSuffix(b.String(), "\n")
				b.Reset()
				b.WriteString(s)
			}
		}
	}
	for ; at < len(from); at++ {
		b.WriteString(from[at])
	}
	return b.String()
}

func TestApplyingAPlanToTheStateBeforeGivesTheDesiredState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := drawSide(t, "before"), drawSide(t, "after")
		r := build(before, after)
		hosts := map[string]map[place]string{}
		rings := map[string]string{}
		for name, h := range before.Hosts {
			hosts[name], rings[name] = what(&before, name), h.Ring
		}
		seen := map[string]bool{}
		for _, g := range r.Groups {
			for _, host := range g.Hosts {
				if seen[host] {
					t.Fatalf("%s is in two groups", host)
				}
				seen[host] = true
				switch g.Kind {
				case Removed:
					delete(hosts, host)
					delete(rings, host)
					continue
				case Added:
					rings[host] = after.Hosts[host].Ring
					hosts[host] = map[place]string{}
					if g.Note != "" {
						for name, h := range before.Hosts {
							if strings.HasSuffix(g.Note, h.Package.String()) {
								hosts[host] = what(&before, name)
							}
						}
					}
				}
				for _, s := range g.Attributes {
					if s.Name == fleet.AttrRing && s.Before == rings[host] {
						rings[host] = s.After
					}
				}
				hosts[host] = apply(t, hosts[host], g.Items)
			}
		}
		if len(hosts) != len(after.Hosts) {
			t.Fatalf("%d hosts, not %d", len(hosts), len(after.Hosts))
		}
		for name, h := range after.Hosts {
			if want := what(&after, name); !maps.Equal(hosts[name], want) || rings[name] != h.Ring {
				t.Fatalf("%s is %v in ring %s, not %v in ring %s", name, hosts[name], rings[name], want, h.Ring)
			}
		}
		if r.Empty() != (len(Diff(before.Hosts, desired(after)).Changes) == 0) {
			t.Fatalf("empty: %t", r.Empty())
		}
	})
}

func TestWhatActsAsRootComesFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := build(drawSide(t, "before"), drawSide(t, "after"))
		if !slices.IsSortedFunc(r.Groups, func(x, y Group) int { return x.weight() - y.weight() }) {
			t.Fatalf("a group without root stands before one with: %+v", r.Groups)
		}
		for _, g := range r.Groups {
			fresh, known := g.split()
			if !slices.IsSortedFunc(fresh, func(x, y Item) int { return x.weight() - y.weight() }) {
				t.Fatalf("items: %+v", g.Items)
			}
			for _, it := range fresh {
				certain := it.Kind != ItemFile || it.After != nil && it.After.Mode == "0755" ||
					it.Before != nil && it.Before.Mode == "0755"
				text := strings.HasPrefix(it.Name, "/usr/share/doc/")
				if certain != (it.Root != "" && it.Root != Unproved) || (!certain && text) != (it.Root == "") {
					t.Fatalf("root is %q for %+v", it.Root, it)
				}
			}
			for _, it := range known {
				if it.Diff != "" || g.Kind != Added {
					t.Fatalf("known, but shown: %+v", it)
				}
			}
		}
	})
}

func TestEachWayToActAsRootIsNamed(t *testing.T) {
	o := &fleet.Output{Plugin: "p", Services: []fleet.Service{{Name: "s", Exec: "/bin/sh /opt/run.txt", EnvironmentFile: "/etc/env"}},
		Health: &schema.HealthCheck{Command: []string{"/bin/sh", "/opt/check"}}}
	other := &fleet.Output{Plugin: "q", Services: []fleet.Service{{Name: "of-another",
		Exec: "/usr/bin/run /usr/share/doc/x/args"}}}
	for name, c := range map[string]struct {
		path string
		mode fs.FileMode
		want string
	}{
		"a plain file":                    {"/etc/x.conf", 0o644, Unproved},
		"a text for people":               {"/usr/share/doc/x/README", 0o644, ""},
		"a greeting":                      {"/etc/motd", 0o644, ""},
		"an executable among texts":       {"/usr/share/doc/x/run", 0o755, "executable"},
		"what is run before the greeting": {"/etc/motd.sh", 0o644, Unproved},
		"what a service of another plugin reads": {"/usr/share/doc/x/args", 0o644,
			"service of-another is started with it"},
		"an executable for its owner only":  {"/opt/x", 0o700, "executable"},
		"setuid, as Go has it":              {"/opt/x", 0o755 | fs.ModeSetuid, "setuid"},
		"setuid, as chmod has it":           {"/opt/x", 0o4755, "setuid"},
		"setuid without a right to execute": {"/opt/x", 0o4644, "setuid"},
		"setgid":                            {"/opt/x", 0o755 | fs.ModeSetgid, "setgid"},
		"a cron table":                      {"/etc/cron.d/x", 0o644, "cron reads it"},
		"a unit of its own":                 {"/etc/systemd/system/x.service", 0o644, "systemd reads it"},
		"a sudo rule":                       {"/etc/sudoers.d/x", 0o440, "sudo reads it"},
		"the updater's settings": {schema.ConfigFile("linux"), 0o644,
			"steers the updater, which runs as root"},
		"the environment of a service":      {"/etc/env", 0o644, "environment of service s"},
		"what a service hands to a shell":   {"/opt/run.txt", 0o644, "service s is started with it"},
		"what the health check is given":    {"/opt/check", 0o644, "the health check is started with it"},
		"a name that only begins like root": {"/rooted/x", 0o644, Unproved},
		"a preload of the dynamic linker":   {"/etc/ld.so.preload", 0o644, "the dynamic linker reads it"},
	} {
		if got := rootFile(&fleet.File{Path: c.path, Mode: c.mode}, []*fleet.Output{o, other}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Each of these files made its author root on a Debian host, and none of them is executable.
func TestNoWayToRootGoesUnmarked(t *testing.T) {
	for _, path := range []string{
		"/etc/udev/rules.d/99-x.rules", "/usr/lib/udev/rules.d/99-x.rules", "/etc/modprobe.d/x.conf",
		"/usr/lib/modprobe.d/x.conf", "/usr/lib/python3/dist-packages/x.pth",
		"/usr/local/lib/python3.11/dist-packages/x.pth",
		"/usr/lib/python3.11/sitecustomize.py", "/etc/sudo.conf", "/etc/ld.so.conf.d/x.conf", "/etc/ld.so.preload",
		"/etc/rsyslog.d/x.conf", "/etc/dbus-1/system.d/x.conf", "/etc/initramfs-tools/conf.d/x", "/etc/default/cron",
		"/etc/default/grub.d/x.cfg", "/etc/binfmt.d/x.conf", "/etc/vim/vimrc.local", "/etc/perl/sitecustomize.pl",
		"/etc/apparmor.d/local/usr.sbin.x", "/etc/snmp/snmpd.conf", "/etc/postfix/main.cf", "/etc/aliases",
		"/etc/exports.d/x.exports", "/etc/ssl/openssl.cnf", "/etc/krb5.conf.d/x", "/etc/gitconfig", "/etc/lvm/lvm.conf",
		"/etc/multipath.conf", "/etc/skel/.profile", "/etc/at.allow", "/etc/incron.d/x",
		"/etc/zsh/zshenv", "/opt/x/lib.so",
	} {
		for _, it := range Effective(&rules.Recipe{Outputs: []*fleet.Output{
			{Plugin: "files", Files: []fleet.File{{Path: path, Mode: 0o644}}}}}, fleet.Mask{}) {
			if it.Name != path || it.Root == "" {
				t.Errorf("%+v", it)
			}
			path = ""
		}
		if path != "" {
			t.Errorf("%s is not marked", path)
		}
	}
}

func TestDirectoriesAndLinksAreToldForWhatTheyAre(t *testing.T) {
	dir := func(path, owner string, mode fs.FileMode) fleet.File {
		f := fleet.Directory(path, mode)
		f.Owner = owner
		return f
	}
	having := func(f fleet.File) map[place]*Content {
		return contents(&rules.Recipe{Outputs: []*fleet.Output{{Plugin: "p", Files: []fleet.File{f}}}}, nil)
	}
	for name, c := range map[string]struct {
		file           fleet.File
		detail, asRoot string
	}{
		"a directory": {dir("/var/lib/x", "", 0o750), "mode 0750, directory", ""},
		"one of somebody": {dir("/var/lib/x", "x", 0o750), "mode 0750, owner x:root, directory",
			"others than root can put files there: " + Unproved},
		"one that root reads": {dir("/etc/cron.d/x", "", 0o755), "mode 0755, directory", ""},
		"one that others fill": {dir("/etc/cron.d", "x", 0o755), "mode 0755, owner x:root, directory",
			"others than root can put files there: cron reads it"},
		"one that anybody fills": {dir("/etc/cron.d", "", 0o777), "mode 0777, directory",
			"others than root can put files there: cron reads it"},
		"a file with capabilities": {fleet.File{Path: "/usr/share/doc/x", Mode: 0o644, SHA256: schema.DigestOf(nil),
			Capabilities: []string{"cap_bpf", "cap_net_raw"}},
			"mode 0644, capabilities cap_bpf,cap_net_raw, 0 bytes, sha256 e3b0c44298fc1c14",
			"who executes it has powers of root: cap_bpf, cap_net_raw"},
		"a link": {fleet.SymbolicLink("/etc/x", "../y"), "symbolic link to ../y", "leads to ../y"},
	} {
		items := compare(fleet.Mask{}, nil, having(c.file))
		if len(items) != 1 || items[0].change() != c.detail || items[0].Root != c.asRoot {
			t.Errorf("%s: %+v", name, items)
		}
	}
	same := compare(fleet.Mask{}, having(dir("/x", "", 0o755)), having(fleet.SymbolicLink("/x", "y")))
	if len(same) != 1 || !strings.Contains(same[0].change(), "directory -> symbolic link to y") {
		t.Errorf("%+v", same)
	}
}

func TestEqualChangesOfUnlikePackagesAreOneGroup(t *testing.T) {
	outputs := func(own, common string) []*fleet.Output {
		return []*fleet.Output{{Plugin: "p", Files: []fleet.File{textFile("/etc/own", own, 0o644), textFile("/etc/common", common, 0o644)}}}
	}
	was, is := map[string][]*fleet.Output{}, map[string][]*fleet.Output{}
	for i := range 20 {
		host := fmt.Sprintf("host%02d", i)
		was[host], is[host] = outputs(host, "old"), outputs(host, "new")
	}
	r := build(side(was, nil), side(is, nil))
	if len(r.Groups) != 1 || len(r.Groups[0].Hosts) != 20 || len(r.Groups[0].Items) != 1 || r.Summary.Bake != 20 {
		t.Errorf("%+v", r.Groups)
	}
}

func TestAPackageWhoseContentBeforeIsNotKnownIsSaidSo(t *testing.T) {
	was := side(map[string][]*fleet.Output{"a": {{Plugin: "p", Files: []fleet.File{textFile("/etc/a", "old", 0o644)}}}}, nil)
	is := side(map[string][]*fleet.Output{"a": {{Plugin: "p", Files: []fleet.File{textFile("/etc/a", "new", 0o644)}}}}, nil)
	was.Resolved = nil
	r := build(was, is)
	if len(r.Groups) != 1 || r.Groups[0].Note == "" || len(r.Notes) != 1 || len(r.Groups[0].Items) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestALongTextIsToldBySizeAndALongDiffIsCut(t *testing.T) {
	text := func(n int, line string) *Content {
		s := []byte(strings.Repeat(line+"\n", n))
		return &Content{Size: int64(len(s)), SHA256: schema.DigestOf(s), text: func() ([]byte, bool) { return s, true }}
	}
	if d, _ := textDiff(fleet.Mask{}, text(maxText, "x"), text(1, "y")); d != "" {
		t.Errorf("a diff of %d bytes", len(d))
	}
	d, cut := textDiff(fleet.Mask{}, nil, text(1000, "x"))
	if got := strings.Count(d, "\n"); got != maxDiffLines || cut != 1001-maxDiffLines {
		t.Errorf("%d lines and %d cut", got, cut)
	}
	if d, _ := textDiff(fleet.Mask{}, text(1, "\x00"), text(1, "y")); d != "" {
		t.Errorf("a diff of a binary: %q", d)
	}
}

func TestAPasswordsHashIsNotShown(t *testing.T) {
	was, is := side(nil, nil), side(nil, nil)
	is.Access = schema.Access{Schema: 1, Users: map[string]schema.User{"ci": {Hash: "$2y$05$secret", Permissions: map[string][]string{"register": {"~.*"}}}}}
	r := build(was, is)
	var b bytes.Buffer
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	if len(r.Settings) != 2 || strings.Contains(b.String(), "secret") || !strings.Contains(b.String(), `access.users.ci.permissions.register: none -> ["~.*"]`) {
		t.Errorf("%s", b.String())
	}
	if r.Empty() {
		t.Error("a new user is no change")
	}
	was.Access.Retirement = &schema.Retirement{Default: schema.Duration(time.Hour)}
	b.Reset()
	if err := build(was, side(nil, nil)).Text(&b); err != nil ||
		!strings.Contains(b.String(), "access.retirement.default: 1h0m0s -> none") {
		t.Errorf("%v: %s", err, b.String())
	}
}

func TestAnAddedHostShowsOnlyWhatNoHostHasHad(t *testing.T) {
	outputs := func(own string) []*fleet.Output {
		return []*fleet.Output{{Plugin: "p", Files: []fleet.File{textFile("/etc/own", own, 0o644), textFile("/usr/bin/p", "true\n", 0o755)}}}
	}
	was := map[string][]*fleet.Output{"a": outputs("a")}
	r := build(side(was, nil), side(map[string][]*fleet.Output{"a": outputs("a"), "b": outputs("b"), "c": outputs("a")}, nil))
	if len(r.Groups) != 2 || r.Groups[0].Hosts[0] != "b" || r.Summary.Root != 1 {
		t.Fatalf("%+v", r)
	}
	fresh, known := r.Groups[0].split()
	if len(fresh) != 1 || fresh[0].Name != "/etc/own" || len(known) != 1 || known[0].Name != "/usr/bin/p" {
		t.Errorf("%+v and %+v", fresh, known)
	}
	if c := r.Groups[1]; c.Hosts[0] != "c" || len(c.Items) != 0 || !strings.Contains(c.Note, "other hosts have already") {
		t.Errorf("a host with another's package: %+v", c)
	}
	var b bytes.Buffer
	if err := r.Text(&b); err != nil || !strings.Contains(b.String(), "and 1 item as other hosts have them: file /usr/bin/p") {
		t.Errorf("%v: %s", err, b.String())
	}
}

func TestUsersIntervalsAndOtherPackagesAreToldFirst(t *testing.T) {
	file := textFile("/etc/m/token", "hunter2", 0o600)
	file.Owner = "monitor"
	o := &fleet.Output{Plugin: "m", Files: []fleet.File{file},
		Users: []fleet.User{{Name: "monitor", Home: "/", Groups: []string{"docker"}}}, Groups: []string{"readers"},
		Intervals: []fleet.Interval{{Name: "tidy", Exec: "/bin/tidy", Every: schema.Duration(3600e9)}},
		Services:  []fleet.Service{{Name: "door", Exec: "/bin/m", User: "monitor", Listen: []string{"6556"}}},
		Relations: fleet.Relations{All: fleet.RelationSet{Conflicts: []fleet.Relation{{Name: "other-agent", Op: "<", Version: "2"}}}},
		Scripts:   map[string]string{"posttrans": "true\n"}}
	before := side(map[string][]*fleet.Output{"a": nil}, nil)
	after := side(map[string][]*fleet.Output{"a": {o}}, nil)
	var b strings.Builder
	if err := build(before, after).Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"acts as root, or may:\n" +
			"  ! script posttrans added (runs as root when the package is installed or removed, plugin m, 1 host)\n" +
			"  ! service door added (runs as monitor, for whoever connects to 6556, plugin m, 1 host)\n" +
			"  ! interval tidy added (runs as root every 1h0m0s, plugin m, 1 host)\n" +
			"  ! user monitor added (is made on the host, plugin m, 1 host)\n" +
			"  ! group readers added (is made on the host, plugin m, 1 host)\n" +
			"  ! other packages m added (the package manager goes by it, plugin m, 1 host)\n",
		`"docker"`, `"name": "other-agent"`,
		"file /etc/m/token added (" + Unproved + "): mode 0600, owner monitor:root, 7 bytes, sha256 ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("what only its owner may read is shown:\n%s", b.String())
	}
	// Its owner alone makes a difference too.
	other := &fleet.Output{Plugin: "m", Files: []fleet.File{textFile("/etc/m/token", "hunter2", 0o600)}}
	items := compare(fleet.Mask{}, contents(&rules.Recipe{Outputs: []*fleet.Output{o}}, nil),
		contents(&rules.Recipe{Outputs: []*fleet.Output{other}}, nil))
	if i := slices.IndexFunc(items, func(it Item) bool { return it.Kind == ItemFile }); i < 0 || items[i].change() != "owner monitor:root -> root:root" {
		t.Errorf("%+v", items)
	}
}
