package evaluate

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema/fleet"
)

const secretText = "hunter2hunter2"

// pinned is a program that is fetched later.
const pinned = `{url: "https://example.com/p", sha256: "sha256:` +
	`aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`

// secretParams are values for each secret of the shipped plugins, which have secretText in them: those in %s are
// refused. The last is in order.
var secretParams = map[string]struct {
	in    string // what the value is in, with %s for it
	wrong []string
	right string
}{
	"checkmk.passphrase": {"agent: " + pinned + ", only_from: \"192.0.2.1\", passphrase: %s",
		[]string{`"hunter2hunter2\n"`, `["hunter2hunter2"]`, `{a: "hunter2hunter2"}`}, `"hunter2hunter2"`},
	"checkmk.config.*.content": {
		`agent: ` + pinned + `, only_from: "192.0.2.1", config: {"a.cfg": {secret: true, content: %s}}`,
		[]string{`["hunter2hunter2"]`, `{hunter: "hunter2hunter2"}`}, `"hunter2hunter2"`},
	"node_exporter.web": {"program: " + pinned + ", web: %s",
		[]string{`"hunter2hunter2"`, `basic_auth_users: a: "hunter2hunter2"`, `basic_auth_users: "hunter2hunter2": "a"`,
			`basic_auth_users: {a: {b: "hunter2hunter2"}}`, `{rate_limit: "hunter2hunter2"}`, `{hunter2hunter2: 1}`},
		`http_server_config: headers: "X-Secret": "hunter2hunter2"`},
	"windows_exporter.web": {"program: " + pinned + ", web: %s",
		[]string{`"hunter2hunter2"`, `basic_auth_users: a: "hunter2hunter2"`, `basic_auth_users: "hunter2hunter2": "a"`,
			`basic_auth_users: {a: {b: "hunter2hunter2"}}`, `{rate_limit: "hunter2hunter2"}`, `{hunter2hunter2: 1}`},
		`http_server_config: headers: "X-Secret": "hunter2hunter2"`},
	"updater.proxy.url": {`proxy: {mode: "explicit", url: %s}`,
		[]string{`"hunter2hunter2"`, `"ftp://a:hunter2hunter2@proxy.example"`,
			`"http://a:hunter2hunter2@proxy.example:0"`,
			`"http://a:hunter2hunter2@"`, `["http://a:hunter2hunter2@b"]`, `"http://hunter2hunter2!/x@proxy.example"`,
			`"http://a:hunter2hunter2@10.1.0.300:3128"`, `"http://hunter2hunter2^:1@proxy.example"`},
		`"http://a:hunter2hunter2@proxy.example:3128"`},
	"zabbix_agent2.tls.key": {`package: ` + pinned + `, tls: {mode: "psk", identity: "i", key: %s}`,
		[]string{`"hunter2hunter2"`, `["hunter2hunter2"]`, `{key: "hunter2hunter2"}`}, ``},
	"zabbix_agent2.tls.privateKey": {`package: ` + pinned + `, tls: {mode: "certificate", privateKey: %s}`,
		[]string{`"hunter2hunter2"`, `["hunter2hunter2"]`, `"-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n"`}, ``},
	"zabbix_agent2.snippets.*": {`package: ` + pinned + `, snippets: mysql: %s`,
		[]string{`["hunter2hunter2"]`, `{Password: "hunter2hunter2"}`},
		`"Plugins.Mysql.Default.Password=hunter2hunter2\n"`},
	"zabbix_agent2.settings.~Password|PSK|Secret|Token|Uri": {
		"package: " + pinned + ", settings: \"Plugins.Mysql.Default.Password\": %s",
		[]string{`"hunter2hunter2\n"`, `{a: "hunter2hunter2"}`, `[["hunter2hunter2"]]`}, `"hunter2hunter2"`},
}

// secretsOfShipped are the secrets that shipped plugins declare, by plugin, parameter and the way inside of it.
func secretsOfShipped(t *testing.T) (names []string) {
	all, err := Shipped(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for plugin, p := range all {
		for _, param := range p.Params {
			if param.Secret {
				names = append(names, plugin+"."+param.Name)
			}
			for _, s := range param.Secrets {
				names = append(names, plugin+"."+param.Name+"."+s.String())
			}
		}
	}
	slices.Sort(names)
	return names
}

func TestASecretIsToldByNobody(t *testing.T) {
	declared := secretsOfShipped(t)
	if have := slices.Sorted(maps.Keys(secretParams)); !slices.Equal(have, declared) {
		t.Fatalf("the table has\n%q, the plugins declare\n%q", have, declared)
	}
	fsys := map[string]string{}
	for name, c := range secretParams {
		plugin, _, _ := strings.Cut(name, ".")
		wrong := map[string]string{}
		for i, v := range c.wrong {
			wrong[fmt.Sprint("wrong ", i)] = fmt.Sprintf(c.in, v)
		}
		conflict := `"` + secretText + `" & "other"`
		wrong["two values"] = fmt.Sprintf(c.in, conflict)
		wrong["no quotation marks"] = fmt.Sprintf(c.in, secretText)
		wrong["arithmetic"] = fmt.Sprintf(c.in, `"`+secretText+`" + 1`)
		wrong["half quoted"] = fmt.Sprintf(c.in, `x"`+secretText+`"`)
		wrong["spaces"] = fmt.Sprintf(c.in, `1 `+secretText)
		wrong["as a condition"] = fmt.Sprintf(c.in, `[if "`+secretText+`" {1}][0]`)
		// Where the secret's struct is expected, too.
		if parts := strings.Split(name, "."); len(parts) > 2 {
			wrong["one level above"] = parts[1] + `: "` + secretText + `"`
			wrong["a list above"] = parts[1] + `: ["` + secretText + `"]`
		}
		for what, value := range wrong {
			for where, text := range map[string]string{
				"rule":   "package r\nrules: " + plugin + ": [{value: {" + value + "}}]\n",
				"host":   "package r\nhosts: web07: set: " + plugin + ": {" + value + "}\n",
				"shared": "package r\n_shared: {" + value + "}\nrules: " + plugin + ": [{value: _shared}]\n",
			} {
				if where != "rule" && what != "two values" {
					continue
				}
				fsys["hosts/r/r.cue"] = text
				told := whole(t, repo(fsys), plugin)
				switch {
				case told == "":
					t.Errorf("%s, %s, %s: nothing is wrong", name, what, where)
				case strings.Contains(told, "hunter"):
					t.Errorf("%s, %s, %s:\n%s", name, what, where, told)
				case !strings.Contains(told, "hosts/r/r.cue:"):
					t.Errorf("%s, %s, %s is nowhere:\n%s", name, what, where, told)
				}
			}
		}
	}
}

// whole is what is said of a repo and of what a plugin yields for a host of it, empty if all is in order.
func whole(t *testing.T, fsys fs.FS, plugin string) string {
	t.Helper()
	f, err := Load(t.Context(), fsys, seen)
	if err == nil {
		in := fleet.Inputs{Platform: amd64, Host: map[string]string{}, Fleet: f.Info(amd64)}
		for _, field := range f.Plugins[plugin].HostFields() {
			if in.Host[field] = "the-" + field; field == "labels" || field == "tags" {
				in.Host[field] = "{}"
			}
		}
		value := f.Folders["r"].Rules[plugin][0].Value
		_, err = f.Output(t.Context(), plugin, in, value)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestASecretThatIsInOrderIsInNoFileThatEverybodyReads(t *testing.T) {
	f := fleetWithKeys(t)
	for name, c := range secretParams {
		if c.right == "" {
			continue // is tested where keys are
		}
		plugin, _, _ := strings.Cut(name, ".")
		f := f
		if f.Plugins[plugin] == nil {
			f = loaded(t, repo(map[string]string{"hosts/r/r.cue": "package r\nrules: " + plugin +
				": [{value: {" + fmt.Sprintf(c.in, c.right) + "}}]\n"}))
		}
		out, err := outputOf(t, f, plugin, fmt.Sprintf(c.in, c.right))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found := false
		for _, file := range out.Files {
			if strings.Contains(string(file.Content), secretText) {
				if found = true; file.Mode&0o004 != 0 {
					t.Errorf("%s: %s has mode %o", name, file.Path, file.Mode)
				}
			}
		}
		if !found {
			t.Errorf("%s is in no file", name)
		}
		for param, v := range given(t, fmt.Sprintf(c.in, c.right)) {
			p, _ := f.Plugins[plugin].Param(param)
			if shown := string(p.Shown(v.JSON)); strings.Contains(shown, "hunter") {
				t.Errorf("%s: explain shows %s", name, shown)
			}
		}
	}
}

func TestSecretsOfAPluginOfTheRepoAreFoundWhereverTheyAre(t *testing.T) {
	f := loaded(t, repo(map[string]string{"plugins/p/plugin.cue": `package p
plugin: params: {
	#login: {user: string, password?: string @secret()}
	logins: [...#login]
	either: string | {token: string @secret()}
	sites: [string]: {key?: string @secret(), name?: string}
	named: {[=~"^pass"]: string @secret(), [!~"^pass"]: string}
	tree: #tree
	#tree: {value?: string @secret(), below?: [...#tree]}
	plain: string | *"p"
}
`, "hosts/r/r.cue": "package r\nrules: p: [{value: {}}]\n"}))
	p := f.Plugins["p"]
	for value, want := range map[string]string{
		`logins: [{user: "u", password: "hunter"}]`:   `[{"password":"(secret)","user":"u"}]`,
		`either: token: "hunter"`:                     `{"token":"(secret)"}`,
		`either: "hunter"`:                            `"(secret)"`,
		`sites: "a b": {key: "hunter", name: "n<&"}`:  `{"a b":{"key":"(secret)","name":"n<&"}}`,
		`named: {password: "hunter", user: "u"}`:      `{"password":"(secret)","user":"u"}`,
		`tree: below: [{below: [{value: "hunter"}]}]`: `{"below":[{"below":[{"value":"(secret)"}]}]}`,
		`plain: "x"`: `"x"`,
	} {
		for name, v := range given(t, value) {
			param, _ := p.Param(name)
			if got := string(param.Shown(v.JSON)); got != want {
				t.Errorf("%s is shown as %s, want %s (secrets %v)", value, got, want, param.Secrets)
			}
		}
	}
}

func TestAPasswordsHashAndAUserInAURLAreNotPrinted(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"two hashes": {"access.cue": "package fleet\nusers: u: {permissions: {}, hash: \"hunter1\" & \"hunter2\"}" +
			"\n"},
		"a hash of two lines": {"access.cue": "package fleet\nusers: u: {permissions: {}, hash: \"hunter\\n2\"}\n"},
		"a hash as a list":    {"access.cue": "package fleet\nusers: u: {permissions: {}, hash: [\"hunter\"]}\n"},
		"a URL with a user":   {"sites/s.cue": "package sites\nsites: a: url: \"https://u:hunter@example.com\"\n"},
		"a server with a user": {"hosts/r/r.cue": "package r\nrules: updater: [{value: server: " +
			"\"https://u:hunter@h\"}]\n"},
		"a source with a user": {"hosts/r/r.cue": "package r\nrules: files: [{value: files: \"/x\": source: " +
			"{url: \"https://u:hunter@h/x\", sha256: \"x\"}}]\n"},
		"YAML": {"hosts/r/r.cue": "package r\nrules:\n  - password: hunter\n"},
	} {
		plugin := "files"
		if told := whole(t, repo(files), plugin); told == "" || strings.Contains(told, "hunter") {
			t.Errorf("%s:\n%s", name, told)
		}
	}
}
