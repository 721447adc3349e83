package evaluate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

var amd64 = schema.Platform{OS: "linux", Arch: "amd64"}

// given is a rule's value, as CUE. Nobody changes it, and the same one is asked for by each step of a test.
func given(t *testing.T, value string) map[string]fleet.Value {
	t.Helper()
	if v, ok := givenBefore.Load(value); ok {
		return v.(map[string]fleet.Value)
	}
	d, err := engine.New(engine.DefaultLimits).Directory(t.Context(), &result.Source{Path: "hosts", Definition: "#Folder",
		Files: []result.File{{Name: "hosts/given.cue", Data: []byte("package hosts\nvalue: {" + value + "}\n")}}})
	if err != nil {
		t.Fatal(err)
	}
	if d.Value == nil {
		t.Fatal(d.Problems)
	}
	v := d.Value.Get("value").Values()
	givenBefore.Store(value, v)
	return v
}

var givenBefore sync.Map

// checked is what is wrong with a rule's value.
func checked(t *testing.T, f *Repo, plugin, value string) (ps fleet.Problems) {
	t.Helper()
	src, err := f.plugins[plugin].source()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range given(t, value) {
		found, err := f.engine.Check(t.Context(), src, f.Info(schema.Platform{}), name, v)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, found...)
	}
	return ps
}

// platformOf is a platform that the plugin is for.
func platformOf(plugin string) schema.Platform {
	if strings.HasPrefix(plugin, "windows_") {
		return schema.Platform{OS: "windows", Arch: "amd64"}
	}
	return amd64
}

// outputOf is what a plugin yields for a host of its platform.
func outputOf(t *testing.T, f *Repo, plugin, value string) (*fleet.Output, error) {
	t.Helper()
	platform := platformOf(plugin)
	in := fleet.Inputs{Platform: platform, Host: map[string]string{}, Fleet: f.Info(platform)}
	for _, field := range f.Plugins[plugin].HostFields() {
		if in.Host[field] = "the-" + field; field == "labels" || field == "tags" {
			in.Host[field] = "{}"
		}
	}
	return f.Output(t.Context(), plugin, in, given(t, value))
}

func TestAPasswordOfAProxyIsForRootAlone(t *testing.T) {
	f := fleetWithKeys(t)
	for value, mode := range map[string]os.FileMode{
		`proxy: {mode: "explicit", url: "http://user:secret@proxy.example:8080"}`: 0o600,
		`proxy: {mode: "explicit", url: "http://proxy.example:8080"}`:             0o644,
		``: 0o644,
	} {
		out, err := outputOf(t, f, fleet.UpdaterPlugin, value)
		if err != nil {
			t.Fatal(err)
		}
		if got := fileOf(t, out, schema.ConfigFile("linux")).Mode; got != mode {
			t.Errorf("%q: the settings have mode %o, want %o", value, got, mode)
		}
	}
}

func fileOf(t *testing.T, out *fleet.Output, path string) fleet.File {
	t.Helper()
	for _, f := range out.Files {
		if f.Path == path {
			return f
		}
	}
	t.Fatalf("no file %s in %+v", path, out.Files)
	return fleet.File{}
}

func fleetWithKeys(t *testing.T) *Repo {
	return loaded(t, repo(map[string]string{
		"keys/keys.cue": string(fleet.KeyFile(fleet.Key{Name: "one", Public: testKey, Uses: []string{fleet.UsePackage}})),
		"keys/two.cue": string(fleet.KeyFile(fleet.Key{Name: "two", Public: strings.Replace(testKey, "Gb9E", "Hb9E", 1),
			Uses: []string{fleet.UsePackage, fleet.UseTargets}})),
		"keys/root.cue": string(fleet.KeyFile(fleet.Key{Name: "root",
			Public: strings.Replace(testKey, "Gb9E", "Ib9E", 1), Uses: []string{fleet.UseRoot}})),
		"trust/1.root.json": "{\"root\": \"ü <&>\"}\n",
		"programs.cue": "package fleet\nprograms: \"linux/amd64\": {version: \"1.2.3\", sha256: \"sha256:" +
			strings.Repeat("ab", 32) + "\"}\n",
	}))
}

func TestUpdaterYieldsSettingsThatTheAgentReads(t *testing.T) {
	f := fleetWithKeys(t)
	out, err := outputOf(t, f, fleet.UpdaterPlugin, "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := schema.DecodeAgentConfig(fileOf(t, out, schema.ConfigFile("linux")).Content)
	if err != nil {
		t.Fatal(err)
	}
	if c.Fleet != "acme" || c.Package != fleet.PackageName || c.Version != "1.2.3" || c.Server != f.URL || c.Fixed ||
		time.Duration(c.Interval) != time.Hour ||
		c.Proxy.Mode != "none" || c.Threshold != 1 || len(c.Certificates) != 0 {
		t.Errorf("settings without any rule: %+v", c)
	}
	if len(c.Keys) != 2 || c.Keys[0].Name != "one" || c.Keys[1].Name != "two" || c.Keys[0].Public != testKey {
		t.Errorf("accepted keys %+v: want those that sign packages", c.Keys)
	}
	if got := fileOf(t, out, schema.AnchorFile("linux")).Content; string(got) != string(f.Anchor()) {
		t.Errorf("anchor %q is not the root's bytes", got)
	}
	p := fileOf(t, out, "/usr/bin/bakehouse-agent")
	if !p.Program || !p.Shared() || p.Mode != 0o755 || p.SHA256 != f.Programs[amd64].SHA256 || p.Size != -1 {
		t.Errorf("program %+v", p)
	}
	if len(out.Services) != 1 || out.Services[0].Exec != "/usr/bin/bakehouse-agent run" || !out.Services[0].Enable {
		t.Errorf("services %+v", out.Services)
	}
}

func TestUpdaterTakesEveryOption(t *testing.T) {
	out, err := outputOf(t, fleetWithKeys(t), fleet.UpdaterPlugin,
		`server: "http://other.example/base", fixed: true, interval: "1d", threshold: 1, keys: ["two"],
		proxy: {mode: "explicit", url: "socks5://user:secret@proxy.example:1080"}, certificates: []`)
	if err != nil {
		t.Fatal(err)
	}
	c, err := schema.DecodeAgentConfig(fileOf(t, out, schema.ConfigFile("linux")).Content)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server != "http://other.example/base" || !c.Fixed || c.Interval.String() != "1d" || len(c.Keys) != 1 ||
		c.Keys[0].Name != "two" ||
		c.Proxy.Mode != "explicit" || c.Proxy.URL != "socks5://user:secret@proxy.example:1080" {
		t.Errorf("settings %+v", c)
	}
}

func TestAServerThatARuleNamesIsTheOneThatHostsUse(t *testing.T) {
	for value, want := range map[string]bool{
		``: false, `server: "https://other.example:8443"`: true, `fixed: true`: true,
		`server: "https://other.example:8443", fixed: false`: false,
		`server: "` + fleetWithKeys(t).URL + `"`:             false,
	} {
		out, err := outputOf(t, fleetWithKeys(t), fleet.UpdaterPlugin, value)
		if err != nil {
			t.Fatal(err)
		}
		c, err := schema.DecodeAgentConfig(fileOf(t, out, schema.ConfigFile("linux")).Content)
		if err != nil || c.Fixed != want {
			t.Errorf("%s: %v, fixed %v", value, err, c.Fixed)
		}
	}
}

func TestUpdaterRefusesWhatTheAgentWould(t *testing.T) {
	for name, c := range map[string]struct{ value, want string }{
		"a key that does not exist":       {`keys: ["three"]`, "updater.keys[0]: "},
		"a key that signs no packages":    {`keys: ["root"]`, "updater.keys[0]: "},
		"no key at all":                   {`keys: []`, "updater.keys: "},
		"a threshold of none":             {`threshold: 0`, "updater.threshold: 0 is out of range"},
		"a proxy of an unknown kind":      {`proxy: mode: "auto"`, "updater.proxy.mode: \"auto\" is none of"},
		"an interval without a unit":      {`interval: "60"`, "updater.interval: invalid value \"60\""},
		"a server that is no URL":         {`server: "host:8443"`, "updater.server: invalid value"},
		"a certificate that is not a PEM": {`certificates: [3]`, "updater.certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			got := checked(t, fleetWithKeys(t), fleet.UpdaterPlugin, c.value)
			if !strings.Contains(got.Error(), "hosts/given.cue:2:") || !strings.Contains(got.Error(), c.want) {
				t.Errorf("got\n%v\nwant %s", got, c.want)
			}
		})
	}
	// Only the whole says that something is missing.
	if _, err := outputOf(t, fleetWithKeys(t), fleet.UpdaterPlugin, `proxy: mode: "explicit"`); err == nil ||
		!strings.Contains(err.Error(), "needs the parameter proxy.url") {
		t.Errorf("an explicit proxy without a URL: %v", err)
	}
}

func TestEveryParameterOfAShippedPluginHasADoc(t *testing.T) {
	n := 0
	plugins, err := Shipped(t.Context())
	if err != nil || len(plugins) != len(ShippedNames()) {
		t.Errorf("%d of %d plugins, %v", len(plugins), len(ShippedNames()), err)
	}
	for _, p := range plugins {
		if p.Doc == "" || !p.Shipped {
			t.Errorf("plugin %s: doc %q, shipped %v", p.Name, p.Doc, p.Shipped)
		}
		for _, param := range p.Params {
			n++
			if param.Doc == "" {
				t.Errorf("%s.%s has no doc", p.Name, param.Name)
			}
		}
	}
	if n < 12 {
		t.Errorf("only %d parameters", n)
	}
}

func TestShippedPluginsTakeSourcesFromTheTop(t *testing.T) {
	f := loaded(t, repo(map[string]string{"programs/node_exporter-linux-amd64": "binary", "files/x": "y"}))
	out, err := outputOf(t, f, "node_exporter",
		`listen: "127.0.0.1:9101", collectors: ["cpu", "netstat"], arguments: ["--log.level=warn"]`)
	if err != nil {
		t.Fatal(err)
	}
	p := fileOf(t, out, "/usr/bin/node_exporter")
	if p.Repo != "programs/node_exporter-linux-amd64" || p.SHA256 != schema.DigestOf([]byte("binary")) || p.Size != 6 ||
		p.Mode != 0o755 {
		t.Errorf("program %+v", p)
	}
	want := "ARGS=\"--web.listen-address=127.0.0.1:9101 --collector.disable-defaults --collector.cpu " +
		"--collector.netstat --log.level=warn\"\n"
	if got := string(fileOf(t, out, "/etc/default/node_exporter").Content); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if len(out.Users) != 1 || out.Users[0].Name != "node_exporter" {
		t.Errorf("users: %+v", out.Users)
	}
	if out.Health == nil || out.Health.Plugin != "node_exporter" || time.Duration(out.Health.Within) != 30*time.Second {
		t.Errorf("health %+v", out.Health)
	}
	out, err = outputOf(t, f, "files", `files: {"/etc/motd": {content: "hi\n", owner: "web", group: "ssl-cert"}
		"/opt/x": {source: "files/x", mode: 0o700}}`)
	if err != nil {
		t.Fatal(err)
	}
	if m, x := fileOf(t, out, "/etc/motd"), fileOf(t, out, "/opt/x"); string(m.Content) != "hi\n" || m.Mode != 0o644 ||
		m.Owner != "web" || m.Group != "ssl-cert" || x.Owner != "" ||
		m.Shared() || x.Repo != "files/x" || x.Mode != 0o700 {
		t.Errorf("files %+v", out.Files)
	}
}

func TestPluginOutputIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ plugin, want string }{
		"a path that is not absolute": {`files: "etc/x": content: ""`, `the path is not absolute and clean`},
		"a path that climbs":          {`files: "/etc/../x": content: ""`, `the path is not absolute and clean`},
		"a path with a line break":    {`files: "/etc/a\nb": content: ""`, `control characters`},
		"a path in the updater's folder": {`files: "/etc/bakehouse/agent.json": content: ""`,
			`/etc/bakehouse is the updater's alone`},
		"a path in the updater's state": {`files: "/var/lib/bakehouse/state.json": content: ""`,
			`nothing can be installed in /var/lib/bakehouse`},
		"a path in a kernel's file system": {`files: "/proc/x": content: ""`, `nothing can be installed in /proc`},
		"a path that is swept":             {`files: "/tmp/x": content: ""`, `nothing can be installed in /tmp`},
		"the file of users":                {`files: "/etc/passwd": content: ""`, `/etc/passwd is the host's own`},
		"the package manager":              {`files: "/usr/bin/dpkg": content: ""`, `/usr/bin/dpkg is the host's own`},
		"what is installed":                {`files: "/var/lib/dpkg/status": content: ""`, `is the host's own`},
		"a set-user-ID mode": {`files: "/x": {content: "", mode: 0o4755}`,
			`mode: 0o4755 is out of range: want 0o000 to 0o777`},
		"two kinds of bytes": {`files: "/x": {content: "", source: "f"}`,
			`not exactly one of content, source, program, directory, link and tree`},
		"no bytes": {`files: "/x": mode: 0o644`,
			`not exactly one of content, source, program, directory, link and tree`},
		"a source that climbs": {`files: "/x": source: "../../fleet.cue"`,
			`is not a clean path inside the repo`},
		"a source that is not there": {`files: "/x": source: "missing"`,
			`there is no file plugins/p/missing in the repo`},
		"a source that is a folder":   {`files: "/x": source: "/plugins"`, `plugins is not a regular file`},
		"a source that Git LFS holds": {`files: "/x": source: "lfs"`, `a Git LFS pointer`},
		"a command with a line break": {`services: s: exec: "/bin/x\nExecStartPre=/bin/evil"`,
			`exec holds control characters`},
		"a command that is not absolute": {`services: s: exec: "x"`, `exec does not start with an absolute path`},
		"a description with a line break": {`services: s: {exec: "/bin/x", description: "a\nb"}`,
			`description holds control characters`},
		"a user that is none":          {`services: s: {exec: "/bin/x", user: "root\n"}`, `is not the name of a user`},
		"a service outside its folder": {`services: "../s": exec: "/bin/x"`, `the name is not letters`},
		"a health check that is not a path": {`health: command: ["true"]`,
			`command does not start with an absolute path`},
		"a health check without end": {`health: {command: ["/bin/true"], within: "2d"}`,
			`want up to 1h`},
		"a limit of no health check": {`health: within: "1s"`, `health: within is of a command, and there is none`},
		"names that nothing prints":  {`health: keeps: names: "x"`, `want either a command or a url`},
		"what goes of nothing":       {`health: dropped: ["x"]`, `health: dropped is of keeps, and there is none`},
		"an expression that is none": {`health: keeps: {command: ["/bin/x"], names: "("}`,
			`is not a regular expression`},
		"what goes, an expression": {`health: {keeps: {command: ["/bin/x"], names: "x"}, dropped: [")"]}`,
			`dropped: ")" is not a regular expression`},
		"a settle time without end": {`health: keeps: {command: ["/bin/x"], names: "x", settle: "1h"}`,
			`want 0s to 10m`},
		"an address somewhere else": {`health: keeps: {url: "http://u:p@x/", names: "x"}`, `is not a URL such as`},
		"a user of a check that is none": {`health: {command: ["/bin/x"], user: "A"}`,
			`is not the name of a user or group`},
		"a parameter that makes a bad path": {`params: dir: string | *"../x", files: "/etc/\(params.dir)": content: ""`,
			`the path is not absolute and clean`},
		"a step that packages do not have": {`scripts: preints: "x"`, `unknown field preints`},
		"an expression that fails": {`files: "/x": content: "\(1 / params.n)", params: n: int | *0`,
			`invalid interpolation`},
		"content that depends on nothing": {`files: "/x": content: string`, `incomplete value string`},
		"a parameter that nothing sets": {`params: text: string, files: "/x": content: params.text`,
			`plugin p needs the parameter text, which no rule sets`},
	} {
		t.Run(name, func(t *testing.T) {
			// Some is refused when the plugin is read, the rest when it is evaluated.
			f, err := Load(t.Context(), repo(map[string]string{"plugins/p/plugin.cue": "package p\nplugin: {" +
				strings.ReplaceAll(c.plugin, ", params:", "\nparams:") + "}\n",
				"plugins/p/lfs": pointer + "\n"}), nil)
			if err == nil {
				_, err = outputOf(t, f, "p", "")
			}
			var ps fleet.Problems
			if !errors.As(err, &ps) || !strings.Contains(err.Error(), c.want) ||
				!strings.HasPrefix(ps[0].Pos.File, "plugins/p") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestDirectoriesAndLinksAreMade(t *testing.T) {
	f := loaded(t, repo(nil))
	out, err := outputOf(t, f, "files", `files: {"/var/lib/x": {directory: true, mode: 0o750, owner: "x", group: "adm"}
		"/srv/x": directory: true
		"/etc/x": link: "../opt/$x/y z"}`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range out.Files {
		got = append(got, fmt.Sprint(f.Path, " ", f.Mode, " ", f.Owner, ":", f.Group, " ", f.Link))
		if f.SHA256.IsZero() || f.Regular() || f.Shared() || f.Content != nil {
			t.Errorf("%+v", f)
		}
	}
	want := []string{"/etc/x Lrwxrwxrwx : ../opt/$x/y z", "/srv/x drwxr-xr-x : ", "/var/lib/x drwxr-x--- x:adm "}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDirectoriesAndLinksAreRefusedWhereTheyAreWritten(t *testing.T) {
	for name, c := range map[string]struct{ value, want string }{
		"a link to nothing":         {`"/etc/x": link: ""`, "link /etc/x: it has no target"},
		"a NUL in a target":         {`"/etc/x": link: "a\u0000"`, "holds control characters or backslashes"},
		"a line break in a target":  {`"/etc/x": link: "a\nb"`, "holds control characters or backslashes"},
		"an endless target":         {`"/etc/x": link: "` + strings.Repeat("x", 1025) + `"`, "longer than 1024 bytes"},
		"a link with a mode":        {`"/etc/x": {link: "/y", mode: 0o644}`, "a symbolic link has no mode"},
		"a link with an owner":      {`"/etc/x": {link: "/y", owner: "x"}`, "a symbolic link has no owner"},
		"a link with content":       {`"/etc/x": {link: "/y", content: ""}`, "has not exactly one of content"},
		"a directory that is none":  {`"/etc/x": directory: false`, "files.\"/etc/x\".directory"},
		"capabilities of a link":    {`"/etc/x": {link: "/y", capabilities: ["cap_bpf"]}`, "a symbolic link has no"},
		"capabilities of a folder":  {`"/srv/x": {directory: true, capabilities: ["cap_bpf"]}`, "only a file has"},
		"capabilities of a tree":    {`"/srv/x": {tree: "hosts", capabilities: ["cap_bpf"]}`, "a tree has no"},
		"a capability that is none": {`"/x": {content: "", capabilities: ["net_raw"]}`, "\"net_raw\" is no capability"},
		"the system's directory":    {`"/usr/bin": {directory: true, mode: 0o700}`, "is one that the system has"},
		"a directory of the kernel": {`"/run/x": directory: true`, "nothing can be installed in /run"},
	} {
		t.Run(name, func(t *testing.T) {
			f := loaded(t, repo(map[string]string{"hosts/given.cue": "package hosts\nrules: files: [{value: {}}]\n"}))
			ps := checked(t, f, "files", "files: {"+c.value+"}")
			err := ps.Err()
			if err == nil {
				_, err = outputOf(t, f, "files", "files: {"+c.value+"}")
			}
			if err == nil || !strings.Contains(err.Error(), c.want) ||
				!strings.HasPrefix(err.Error(), "hosts/given.cue:2:") {
				t.Errorf("got %v, want hosts/given.cue:2: … %s", err, c.want)
			}
		})
	}
}

func TestValuesThatAreExponentiallyLargeAreRefused(t *testing.T) {
	l := engine.DefaultLimits
	l.Nodes = 5000
	_, err := load(t.Context(), repo(map[string]string{"hosts/big/h.cue": "package big\nrules: files: [{value: files: {" +
		doubled(14) + ", x: _14}}]\n"}), nil, engine.New(l))
	if err == nil || !strings.Contains(err.Error(), "hosts/big: larger than 5000 values") {
		t.Errorf("got %v", err)
	}
}

// doubled is n fields that each hold the one before twice.
func doubled(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf("_%d: {a: _%d, b: _%d}", i+1, i, i))
	}
	return "_0: a: 1, " + strings.Join(parts, ", ")
}

func TestOutputIsTheSameHoweverARuleIsWritten(t *testing.T) {
	f := loaded(t, repo(map[string]string{"plugins/p/plugin.cue": `package p
import "strings"
plugin: {
	params: m: [string]: int
	files: "/x": content: strings.Join([for k, v in params.m {"\(k)=\(v)"}], ",")
}`}))
	a, err := outputOf(t, f, "p", "m: {b: 1, a: 2, c: 3}")
	if err != nil {
		t.Fatal(err)
	}
	b, err := outputOf(t, f, "p", "m: {c: 3, a: 2, b: 1}")
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Files[0].Content) != "a=2,b=1,c=3" || string(b.Files[0].Content) != string(a.Files[0].Content) {
		t.Errorf("%s and %s", a.Files[0].Content, b.Files[0].Content)
	}
}

func TestPluginsSeeOnlyTheHostFieldsThatTheyDeclare(t *testing.T) {
	f := loaded(t, repo(map[string]string{"plugins/p/plugin.cue": "package p\nplugin: {\n\thost: {name: string, " +
		"folder: string}\n\tfiles: \"/x\": content: host.name + host.folder\n}\n"}))
	out, err := outputOf(t, f, "p", "")
	if err != nil || string(out.Files[0].Content) != "the-namethe-folder" {
		t.Errorf("%+v, %v", out, err)
	}
	if got := f.Plugins[fleet.UpdaterPlugin].HostFields(); len(got) != 0 {
		t.Errorf("the updater depends on %v, so that no two hosts share a package", got)
	}
}

func TestPluginsAreEvaluatedConcurrentlyAndInRenewedContexts(t *testing.T) {
	f := fleetWithKeys(t)
	l := engine.DefaultLimits
	l.Uses = 4
	f.engine = engine.New(l)
	in := fleet.Inputs{Platform: amd64, Fleet: f.Info(amd64)}
	want, err := f.Output(t.Context(), fleet.UpdaterPlugin, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			for range 20 {
				got, err := f.Output(t.Context(), fleet.UpdaterPlugin, in, nil)
				if err != nil || string(got.Files[0].Content) != string(want.Files[0].Content) {
					t.Errorf("got %+v, %v", got, err)
				}
			}
		})
	}
	g.Wait()
}

func TestEvaluationThatExplodesNamesItsPlugin(t *testing.T) {
	f := loaded(t, repo(map[string]string{"plugins/p/plugin.cue": `package p
import "list"
plugin: {
	params: n: int | *1
	let r = list.Range(0, params.n, 1)
	files: "/x": content: "\(len([for a in r for b in r if a + b < 0 {a}]))"
}`}))
	// Opening the plugin is bounded as well, and takes long on a busy machine: the bound grows until it is opened.
	l := engine.DefaultLimits
	for l.Time = 50 * time.Millisecond; ; l.Time *= 2 {
		f.engine = engine.New(l)
		if _, err := outputOf(t, f, "p", "n: 1"); err == nil {
			break
		}
	}
	var err error
	for n := 100; err == nil && n < 10000; n *= 2 { // and so does what explodes within it
		_, err = outputOf(t, f, "p", fmt.Sprint("n: ", n))
	}
	if err == nil || !strings.Contains(err.Error(), "plugin p: evaluation takes longer than "+l.Time.String()) {
		t.Fatalf("got %v", err)
	}
	if _, again := f.Output(t.Context(), "p", fleet.Inputs{Platform: amd64}, nil); again == nil {
		t.Error("it is used again while its evaluation still runs")
	}
}

func TestSourcesAreReadThroughNoLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, repo(map[string]string{"plugins/p/plugin.cue": "package p\nplugin: files: \"/x\": source: " +
		"\"sub/f\"\n", "secret/f": "s"})); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "plugins/p/sub")); err != nil {
		t.Fatal(err)
	}
	f := loaded(t, os.DirFS(dir))
	if _, err := outputOf(t, f, "p", ""); err == nil ||
		!strings.Contains(err.Error(), "plugins/p/sub is a symbolic link") {
		t.Errorf("got %v", err)
	}
}

func TestValuesKeepTheirJSONAndTheirPlace(t *testing.T) {
	v := given(t, `s: "a<b>\n\u2028", i: -3, big: 123456789012345678901234567890, f: 1.50, n: null, `+
		`l: [1, {b: 2, a: [true]}], d: *"x" | string`)
	for name, want := range map[string]string{"s": "\"a<b>\\n\\u2028\"", "i": "-3",
		"big": "123456789012345678901234567890", "f": "1.50", "n": "null",
		"l": `[1,{"a":[true],"b":2}]`, "d": `"x"`} {
		if got := string(v[name].JSON); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if !json.Valid(v[name].JSON) || v[name].Pos.File != "hosts/given.cue" || v[name].Pos.Line != 2 {
			t.Errorf("%s stands at %v", name, v[name].Pos)
		}
	}
}

func TestASourceMayBeAPinnedURL(t *testing.T) {
	f := loaded(t, repo(map[string]string{"hosts/r.cue": "package hosts\nrules: files: [{value: {}}]\n"}))
	sum := "sha256:" + strings.Repeat("ab", 32)
	from := func(url, sum string) (*fleet.Output, error) {
		return outputOf(t, f, "files", fmt.Sprintf("files: \"/usr/bin/x\": {source: {url: %q, sha256: %q}, mode: 0o755}",
			url, sum))
	}
	out, err := from("https://example.com/x-1.0", sum)
	if err != nil {
		t.Fatal(err)
	}
	if x := fileOf(t, out, "/usr/bin/x"); x.URL != "https://example.com/x-1.0" || x.SHA256.String() != sum ||
		x.Size != -1 || !x.Shared() || x.Repo != "" || x.Mode != 0o755 {
		t.Errorf("file %+v", x)
	}
	for name, c := range map[string]struct{ url, sum string }{
		"a digest of another form": {"https://example.com/x", "sha256:ab"},
		"no digest":                {"https://example.com/x", ""},
		"a digest of zeros":        {"https://example.com/x", "sha256:" + strings.Repeat("0", 64)},
		"a file of the machine":    {"file:///etc/shadow", sum},
		"a password":               {"https://user:password@example.com/x", sum},
		"a URL without a host":     {"https:///x", sum},
		"a line break":             {"https://example.com/x\ny", sum},
	} {
		if out, err := from(c.url, c.sum); err == nil {
			t.Errorf("%s is let through: %+v", name, out.Files)
		}
	}
}
