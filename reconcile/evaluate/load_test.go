package evaluate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// repo is a config repo from its files; what every repo needs is there already.
func repo(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{
		"fleet.cue": {Data: []byte("package fleet\nname: \"acme\"\nurl: \"https://bakehouse.example:8443\"\n")},
		"hosts/hosts.cue": {Data: []byte("package hosts\ndefaults: {platform: \"linux/amd64\", format: \"deb\"}\nhosts: " +
			"web01: {}\n")},
		// A rule for the plugins that most tests are about, so that each is loaded.
		"hosts/all/r.cue": {Data: []byte("package all\nrules: {updater: [{value: {}}], files: [{when: hosts: [], value: " +
			"{}}], node_exporter: [{when: hosts: [], value: {}}]}\n")},
	}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// refused loads a repo that must not load, and returns the problems as text.
func refused(t *testing.T, fsys fs.FS) string {
	t.Helper()
	_, err := Load(t.Context(), fsys, seen)
	var ps fleet.Problems
	if !errors.As(err, &ps) {
		t.Fatalf("Load: %v, want Problems", err)
	}
	sameAgain(t, fsys, ps.Error())
	return ps.Error()
}

func loaded(t *testing.T, fsys fs.FS) *Repo {
	t.Helper()
	f, err := Load(t.Context(), fsys, seen)
	if err != nil {
		t.Fatalf("Load:\n%v", err)
	}
	sameAgain(t, fsys, told(t, f, nil))
	return f
}

func TestProblemsStandWhereTheMistakeIs(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       string // a part of the output
	}{
		"a revoked package by its short form": {"r.cue", "package fleet\nrollout: revoked: [\"0123456789abcdef\"]\n",
			"r.cue:2:20: rollout.revoked[0]: invalid value \"0123456789abcdef\""},
		"a package that is revoked twice names both": {"r.cue", "package fleet\n_d: \"sha256:" + strings.Repeat("ab", 32) +
			"\"\nrollout: revoked: [_d,\n\t_d]\n",
			"package abababababababab is revoked twice"},
		"a digest that no package has": {"r.cue", "package fleet\nrollout: revoked: [\"sha256:" + strings.Repeat("00", 32) +
			"\"]\n",
			"r.cue:2:20: revoked: \"sha256:" + strings.Repeat("00", 32) + "\" is not the sha256 of a package"},
		"a longest hold of nothing": {"r.cue", "package fleet\nrollout: maxHold: \"0s\"\n",
			"r.cue:2:10: maxHold is no time at all"},
		"a password where its hash belongs": {"a.cue",
			"package fleet\nusers: ci: {hash: \"correct horse\", permissions: {}}\n",
			"a.cue:2:13: users: ci: neither an argon2id nor a bcrypt hash\n\thint: `bakehouse access add` makes one"},
		"a hash that no server would compute": {"a.cue", "package fleet\nusers: ci: {permissions: {}, hash:\n\t\"" +
			strings.Replace(testHash, "m=19456,t=2", "m=1048576,t=1", 1) + "\"}\n",
			"a.cue:2:30: users: ci: an argon2id hash of m=1048576,t=1,p=1: servers compute at most m=65536"},
		"a permission that there is not": {"a.cue",
			"package fleet\nusers: ci: {hash: \"" + testHash + "\", permissions: registr: [\"~.*\"]}\n",
			"users.ci.permissions.registr: unknown field registr\n\thint: did you mean register?"},
		"a pattern of a permission that escapes its anchors": {"a.cue",
			"package fleet\nusers: ci: {hash: \"" + testHash +
				"\", permissions: view: [\"web01\",\n\t\"~web)|(.*\"]}\n",
			"a.cue:3:2: users: ci: view: host pattern \"~web)|(.*\": error parsing regexp"},
		"an origin without TLS": {"r.cue", "package fleet\ndownloads: origins: [\"http://cdn.example\"]\n",
			"r.cue:2:22: downloads.origins[0]: invalid value \"http://cdn.example\""},
		"an origin with a path": {"r.cue", "package fleet\ndownloads: origins: [\"https://cdn.example/x\"]\n",
			"r.cue:2:22: downloads.origins[0]: invalid value \"https://cdn.example/x\""},
		"a port that is none": {"r.cue", "package fleet\ndownloads: origins: [\"https://cdn.example:x\"]\n",
			"r.cue:2:22: server \"https://cdn.example:x\" is not a URL"},
		"a misspelt parameter names the right one": {"hosts/r.cue",
			"package hosts\nrules: updater: [\n\t{value: intervl: \"1h\"},\n]\n",
			"hosts/r.cue:3:10: plugin updater has no parameter \"intervl\"\n\thint: did you mean interval?"},
		"a parameter of the wrong type": {"hosts/r.cue", "package hosts\nrules: updater: [{value: fixed: \"yes\"}]\n",
			"hosts/r.cue:2:26: updater.fixed: \"yes\" is not a bool"},
		"a parameter of the wrong form": {"hosts/r.cue", "package hosts\nrules: updater: [{value: interval: \"5x\"}]\n",
			"hosts/r.cue:2:26: updater.interval: invalid value \"5x\""},
		"a misspelt field inside a parameter": {"hosts/r.cue",
			"package hosts\nrules: updater: [{value: proxy: mod: \"none\"}]\n",
			"hosts/r.cue:2:33: updater.proxy.mod: unknown field mod"},
		"a misspelt plugin names the right one": {"hosts/r.cue", "package hosts\nrules: updatr: [{value: {}}]\n",
			"hosts/r.cue:2:17: there is no plugin \"updatr\"\n\thint: did you mean updater?"},
		"enabled is a bool in every plugin": {"hosts/r.cue", "package hosts\nrules: updater: [{value: enabled: \"no\"}]\n",
			"hosts/r.cue:2:26: updater.enabled: \"no\" is not true or false"},
		"a host's own settings are checked alike": {"hosts/r.cue", "package hosts\nhosts: web02: set: updater: fixd: true\n",
			"hosts/r.cue:2:29: plugin updater has no parameter \"fixd\""},
		"a misspelt condition": {"hosts/r.cue", "package hosts\nrules: updater: [{when: lables: a: \"b\", value: {}}]\n",
			"hosts/r.cue:2:25: rules.updater[0].when.lables: unknown field lables\n\thint: did you mean labels?"},
		"a misspelt field beside a wrong type": {"hosts/r.cue", "package hosts\nhosts: web02: {address: 3}\nrulez: {}\n",
			"hosts/r.cue:2:25: hosts.web02.address: 3 is an int, not a string"},
		"a host in two folders names both": {"hosts/web/hosts.cue", "package web\nhosts: WEB01: {}\n",
			"hosts/web/hosts.cue:2:8: host WEB01 is already in folder \"\" (see also hosts/hosts.cue:3:8)"},
		"a host's name that could leave its path": {"hosts/r.cue", "package hosts\nhosts: \"../x\": {}\n",
			"hosts/r.cue:2:8: hosts.\"../x\": \"../x\" cannot be a name here"},
		"an unknown site": {"hosts/r.cue", "package hosts\nhosts: web02: site: \"centrl\"\n",
			"hosts/r.cue:2:15: there is no site \"centrl\"\n\thint: did you mean central?"},
		"a retirement that is too early": {"hosts/r.cue", "package hosts\nhosts: web02: retireAfter: \"59m\"\n",
			"hosts/r.cue:2:15: retireAfter: 59m is under an hour\n\thint: \"0s\" is for ever"},
		"a retirement in a rule that is no duration": {"hosts/r.cue",
			"package hosts\nrules: host: [{value: retireAfter: \"soon\"}]\n",
			"hosts/r.cue:2:36: rules.host[0].value.retireAfter: invalid value \"soon\""},
		"a retirement in defaults beyond all durations": {"hosts/all/d.cue",
			"package all\ndefaults: retireAfter: \"99999d\"\n",
			"hosts/all/d.cue:2:11: retireAfter: duration \"99999d\" is not of a form"},
		"an unknown ring": {"hosts/r.cue", "package hosts\nhosts: web02: ring: \"al\"\n",
			"hosts/r.cue:2:15: there is no ring \"al\"\n\thint: did you mean all?"},
		"an unknown folder in a condition": {"hosts/r.cue",
			"package hosts\nrules: updater: [{when: folder: \"wep\", value: {}}]\n",
			"hosts/r.cue:2:25: there is no folder \"wep\""},
		"an attribute that depends on what such rules set": {"hosts/r.cue",
			"package hosts\nrules: host: [{when: site: \"central\", value: ring: \"all\"}]\n",
			"hosts/r.cue:2:15: a rule for attributes of hosts cannot depend on their site or platform"},
		"rules of a plugin in two files, which CUE would merge one by one": {"hosts/all/more.cue",
			"package all\nrules: updater: [{value: interval: \"2h\"}]\n",
			"hosts/all/r.cue:2:9: rules for updater stand in more than one list, which CUE merges rule by rule (see also " +
				"hosts/all/more.cue:2:8)"},
		"rules of a plugin twice in a file": {"hosts/r.cue",
			"package hosts\nrules: {\n\tfiles: [{value: {}}]\n\t\"files\": [{value: {}}]\n}\n",
			"hosts/r.cue:4:2: rules for files stand in more than one list, which CUE merges rule by rule (see also " +
				"hosts/r.cue:3:2)"},
		"an attribute that depends on it in a group": {"hosts/r.cue",
			"package hosts\nrules: host: [{when: any: [{not: platform: \"linux\"}], value: ring: \"all\"}]\n",
			"hosts/r.cue:2:15: a rule for attributes of hosts cannot depend on their site or platform"},
		"a misspelt condition in a group": {"hosts/r.cue",
			"package hosts\nrules: updater: [{when: any: [{not: lables: a: \"b\"}], value: {}}]\n",
			"hosts/r.cue:2:37: rules.updater[0].when.any[0].not.lables: unknown field lables\n\thint: did you mean labels?"},
		"a named condition that is not there": {"hosts/r.cue",
			"package hosts\nrules: updater: [{when: condition: not: [\"prod\"], value: {}}]\n",
			"hosts/r.cue:2:25: there is no condition \"prod\""},
		"a named condition that refers to one": {"c.cue",
			"package fleet\nconditions: {a: tags: x: \"y\", b: not: condition: \"a\"}\n",
			"c.cue:2:31: condition b refers to another by name"},
		"a disabled rule is checked all the same": {"hosts/r.cue",
			"package hosts\nrules: updater: [{disabled: true, value: fixd: true}]\n",
			"hosts/r.cue:2:42: plugin updater has no parameter \"fixd\""},
		"an owner of two lines": {"hosts/r.cue", "package hosts\nrules: updater: [{owner: \"a\\nb\", value: {}}]\n",
			"hosts/r.cue:2:26: rules.updater[0].owner: invalid value"},
		"a host that was called what it is called": {"hosts/r.cue", "package hosts\nhosts: web02: was: [\"WEB02\"]\n",
			"hosts/r.cue:2:21: host web02 was never called otherwise"},
		"a former name that is another's name names both": {"hosts/r.cue", "package hosts\nhosts: web02: was: [\"Web01\"]\n",
			"hosts/r.cue:2:21: host web02 was called Web01, but there is a host of that name (see also hosts/hosts.cue:3:8)"},
		"a former name of two hosts names both": {"hosts/web/r.cue",
			"package web\nhosts: {a: was: [\"x\"], b: was: [\"y\", \"X\"]}\n",
			"hosts/web/r.cue:2:38: host b was called X, but so was host a (see also hosts/web/r.cue:2:18)"},
		"one former name, without a list": {"hosts/r.cue", "package hosts\nhosts: web02: was: \"web01\"\n",
			"hosts/r.cue:2:15: host web02 was called web01, but there is a host of that name " +
				"(see also hosts/hosts.cue:3:8)"},
		"more former names than are signed": {"hosts/r.cue",
			"package hosts\nhosts: web02: was: [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\"]\n",
			"hosts/r.cue:2:15: host web02 has 9 former names, at most 8"},
		"a former name that could leave its path": {"hosts/r.cue", "package hosts\nhosts: web02: was: [\"../x\"]\n",
			"hosts.web02.was[0]: invalid value \"../x\""},
		"a state that no host has": {"hosts/r.cue", "package hosts\nhosts: web02: state: \"retird\"\n",
			"hosts.web02.state: \"retird\" is none of \"active\", \"retired\"\n\thint: did you mean \"retired\"?"},
		"a misspelt site names both places": {"hosts/k.cue", "package hosts\nhosts: web02: site: \"muk\"\n",
			"hosts/k.cue:2:15: there is no site \"muk\" (see also sites/muc.cue:2:8)\n\thint: did you mean muc?"},
		"a misspelt plugin names both places": {"hosts/k.cue", "package hosts\nrules: mot: [{value: {}}]\n",
			"hosts/k.cue:2:14: there is no plugin \"mot\" (see also plugins/motd)\n\thint: did you mean motd?"},
		"a key that the updater cannot accept names both places": {"hosts/k.cue",
			"package hosts\nrules: updater: [{value: keys: [\"prod\", \"prodd\"]}]\n",
			"hosts/k.cue:2:33: key prod does not sign packages, but root (see also keys/prod.cue:5:2)\n\thint: hosts accept " +
				"keys with the use \"package\"\n" +
				"hosts/k.cue:2:41: there is no key \"prodd\" (see also keys/prod.cue:5:2)\n\thint: did you mean prod?"},
		"a pattern that is no regular expression": {"hosts/r.cue",
			"package hosts\nrules: updater: [{when: hosts: [\"~(\"], value: {}}]\n",
			"hosts/r.cue:2:33: host pattern \"~(\""},
		"a value that is not concrete": {"hosts/r.cue", "package hosts\nrules: updater: [{value: fixed: bool}]\n",
			"hosts/r.cue:2:33: rules.updater[0].value.fixed: incomplete value bool"},
		"an ancestor's package name": {"hosts/web/r.cue", "package hosts\n",
			"hosts/web/r.cue:1:9: package hosts is also the package of a directory above, whose files cue would " +
				"merge into this one (see also hosts/hosts.cue:1:9)\n\thint: say `package web`"},
		"two packages in a folder": {"hosts/r.cue", "package other\n",
			"package"},
		"no package clause": {"hosts/web/r.cue", "hosts: {}\n",
			"hosts/web/r.cue:1:1: no package clause\n\thint: start the file with `package web`"},
		"an import from elsewhere": {"hosts/r.cue", "package hosts\nimport \"example.com/x\"\n",
			"hosts/r.cue:2:8: import of \"example.com/x\": only CUE's own packages can be imported"},
		"an import that reads the machine": {"hosts/r.cue", "package hosts\nimport \"tool/exec\"\n",
			"hosts/r.cue:2:8: import of \"tool/exec\""},
		"a file that depends on how it is loaded": {"hosts/r.cue", "@if(prod)\n\npackage hosts\n",
			"hosts/r.cue:1:1: the file attribute @if(prod) is not supported"},
		"a syntax error": {"hosts/r.cue", "package hosts\nrules: x: [{value: {a: 1}\n",
			"hosts/r.cue:2:27: "},
		"a reference to nothing": {"hosts/r.cue", "package hosts\nrules: updater: [{value: interval: _x}]\n",
			"hosts/r.cue:2:36: rules.updater.value.interval: reference \"_x\" not found"},
		"a private key where a public one belongs": {"keys/k.cue",
			"package keys\nkeys: k: {uses: [\"root\"], public: \"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE " +
				"KEY-----\\n\"}\n",
			"keys/k.cue:2:27: key k: public holds a private key: everyone who reads the repo has it"},
		"a use that no key has": {"keys/k.cue",
			"package keys\nkeys: k: {uses: [\"pakage\"], public: \"-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC " +
				"KEY-----\\n\"}\n",
			"keys.k.uses[0]: \"pakage\" is none of \"log\", \"package\", \"root\", \"snapshot\", \"targets\", " +
				"\"timestamp\", \"witness\"\n\thint: did you mean \"package\"?"},
		"a gap in the chain of roots": {"trust/2.root.json", "{}",
			"trust/1.root.json: is missing, but later roots are there"},
		"an anchor that is not there": {"rollout.cue", "package fleet\nanchor: 2\n", ""},
		"a file that Git LFS holds": {"hosts/r.cue", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
			"hosts/r.cue: is a Git LFS pointer, not the file itself"},
		"a plugin that would replace the updater": {"plugins/updater/plugin.cue", "package updater\nplugin: {}\n",
			"plugins/updater: the plugin updater is shipped with bakehouse and cannot be replaced"},
		"a plugin folder without CUE": {"plugins/x/README", "x",
			"plugins/x: there is no CUE file in it"},
		"a plugin that asks for what hosts do not have": {"plugins/x/plugin.cue", "package x\nplugin: host: nme: string\n",
			"plugins/x/plugin.cue:2:15: plugin.host.nme: unknown field nme\n\thint: did you mean name?"},
		"a plugin that asks for what the fleet does not have": {"plugins/x/plugin.cue",
			"package x\nplugin: fleet: nam: string\n",
			"plugins/x/plugin.cue:2:16: fleet has no field nam"},
		"a plugin that declares enabled": {"plugins/x/plugin.cue", "package x\nplugin: params: enabled: bool | *false\n",
			"plugins/x/plugin.cue:2:17: every plugin has the parameter enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == "" {
				m := repo(map[string]string{c.file: c.text, "trust/1.root.json": "{}"})
				if got := refused(t, m); !strings.Contains(got,
					"rollout.cue:2:1: anchor: there is no trust/2.root.json; the newest is 1") {
					t.Errorf("got\n%s", got)
				}
				return
			}
			files := map[string]string{c.file: c.text}
			if c.file == "hosts/k.cue" {
				files["sites/muc.cue"] = "package sites\nsites: muc: url: \"https://muc\"\n"
				files["plugins/motd/plugin.cue"] = "package motd\nplugin: {}\n"
				files["keys/prod.cue"] = string(fleet.KeyFile(fleet.Key{Name: "prod", Public: testKey,
					Uses: []string{fleet.UseRoot}}))
			}
			if got := refused(t, repo(files)); !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

const testHash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$" +
	"oVLnFW4Vdd+KZaNyuHNZYDlTeeRDSkyoACLFGAAhgLc"

func TestEveryMistakeIsToldAtOnce(t *testing.T) {
	files := map[string]string{
		"rollout.cue":          "package fleet\nnam: 1\nlifetimes: {timestamp: \"7x\", snapshop: \"1d\"}\n",
		"hosts/a/r.cue":        "package a\nrules: updater: [{value: fixd: true}, {valu: {}}]\n",
		"hosts/b/r.cue":        "package b\nrules: updater: [{value: {fixd: true, interval: 3}}]\n",
		"plugins/x/plugin.cue": "package x\nplugin: {fles: {}, doc: 3}\n",
		"sites/s.cue":          "package sites\nsites: a: {url: \"https://a\", pasword: true}\n",
		"keys/k.cue":           "package keys\nkeys: k: uses: [\"root\"]\n",
	}
	first := []string{"nam: unknown field nam", "lifetimes.timestamp: invalid value \"7x\"",
		"lifetimes.snapshop: unknown field", "sites.a.pasword: unknown field",
		"key k needs one of public and certificate"}
	second := []string{"rules.updater[1].valu: unknown field",
		"hosts/b/r.cue:2:27: plugin updater has no parameter \"fixd\"",
		"updater.interval: ", "plugin.fles: unknown field", "plugin.doc: 3 is an int, not a string"}
	holds := func(got string, wanted, unwanted []string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		for _, other := range unwanted {
			if strings.Contains(got, other) {
				t.Errorf("%q in\n%s", other, got)
			}
		}
	}
	holds(refused(t, repo(files)), first, second)
	for _, name := range []string{"rollout.cue", "sites/s.cue", "keys/k.cue"} {
		delete(files, name)
	}
	holds(refused(t, repo(files)), second, first)
}

// A mistake in what concerns the whole fleet is not to wait for a hundred thousand hosts.
func TestAMistakeInASmallFileIsToldBeforeAnyHostIsEvaluated(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"a hash": {"access.cue", "package fleet\nusers: ci: {hash: \"$2y$31$\", permissions: {}}\n",
			"access.cue:2:13: users: ci"},
		"a field": {"access.cue", "package fleet\nusers: ci: {hsh: \"\", permissions: {}}\n", "unknown field hsh"},
		"syntax":  {"rollout.cue", "package fleet\nrollout: {\n", "rollout.cue:2:"},
		"a folder that is not there": {"rollout.cue", "package fleet\nrollout: select: folder: \"nowhere\"\n",
			"rollout.cue:2:18: there is no folder \"nowhere\""},
		"a site that is not there": {"rollout.cue",
			"package fleet\nrollout: rings: [{name: \"a\", when: site: \"muk\"}]\n",
			"there is no site \"muk\" (see also sites/muc.cue:2:8)"},
		"a key":  {"keys/k.cue", "package keys\nkeys: k: uses: [\"root\"]\n", "key k needs one of"},
		"a site": {"sites/muk.cue", "package sites\nsites: muk: url: \"x\"\n", "sites.muk.url"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &counting{Engine: engine.New(engine.DefaultLimits)}
			files := map[string]string{"sites/muc.cue": "package sites\nsites: muc: url: \"https://muc\"\n",
				"hosts/a/h.cue": "package a\nhosts: a: sit: 3\n", c.file: c.text}
			_, err := load(t.Context(), repo(files), nil, e)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hosts/") {
				t.Errorf("%v", err)
			}
			for _, asked := range e.asked {
				if strings.Contains(asked, "hosts") || strings.Contains(asked, "plugins") {
					t.Errorf("%s was evaluated", asked)
				}
			}
			if len(e.asked) == 0 {
				t.Error("nothing was evaluated")
			}
		})
	}
}

// One mistake at the top does not make errors of all that refers to it.
func TestWhatABrokenFileMayDefineIsNotSaidToBeMissing(t *testing.T) {
	got := refused(t, repo(map[string]string{
		"rollout.cue": "package fleet\nrollout: {rings: [{name: \"early\"}], enabled: 3}\nconditions: prod: {}\n",
		"hosts/a/r.cue": "package a\nhosts: a: {site: \"central\", ring: \"early\"}\nrules: updater: [{when: condition: " +
			"\"prod\", value: {}}]\n",
	}))
	if !strings.Contains(got, "rollout.enabled: 3 is an int") || strings.Contains(got, "there is no") {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatTheFleetRevokesAndWhereItsHostsMayFetchFrom(t *testing.T) {
	d := schema.DigestOf([]byte("a bad package"))
	f := loaded(t, repo(map[string]string{
		"r.cue": "package fleet\nrollout: {revoked: [\"" + d.String() +
			"\"], maxHold: \"30d\"}\ndownloads: origins: [\"https://cdn.example\", \"https://[2001:db8::1]:8443\"]\n",
	}))
	if r := f.Rollout; len(r.Revoked) != 1 || r.Revoked[0] != d || time.Duration(r.MaxHold) != 30*day {
		t.Errorf("rollout %+v", r)
	}
	if f.Downloads == nil || strings.Join(f.Downloads.Origins, " ") != "https://cdn.example https://[2001:db8::1]:8443" ||
		f.Downloads.Certificates != "" {
		t.Errorf("downloads %+v", f.Downloads)
	}
}

func TestAConditionThatNothingUsesIsNamed(t *testing.T) {
	f := loaded(t, repo(map[string]string{
		"c.cue": "package fleet\nconditions: {used: tags: x: \"y\", idle: labels: a: \"b\"}\n",
		"hosts/r.cue": "package hosts\nrules: updater: [{when: any: [{condition: \"used\"}], comment: \"why\", owner: " +
			"\"ops\", value: {}}]\n",
	}))
	if len(f.Warnings) != 1 || f.Warnings[0].Error() != "c.cue:2:34: nothing refers to the condition idle" {
		t.Errorf("warnings %v", f.Warnings)
	}
	if r := f.Folders[""].Rules["updater"][0]; r.Comment != "why" || r.Owner != "ops" ||
		r.When.Any[0].Named.Conditions[0].Name != "used" {
		t.Errorf("rule %+v", r)
	}
}

func TestHelpersInCUEAreAllowed(t *testing.T) {
	f := loaded(t, repo(map[string]string{"hosts/r.cue": `package hosts
import "strings"
_hours: 2
_common: platform: "linux/arm64"
let prefix = "db"
hosts: {for n in ["01", "02"] {(prefix + n): _common & {address: strings.ToLower("DB\(n).Example")}}}
rules: updater: [{value: interval: "\(_hours)h"}]
`}))
	if len(f.Hosts) != 3 || f.Hosts[0].Name != "db01" || f.Hosts[0].Address != "db01.example" ||
		f.Hosts[0].Attributes["platform"].Text() != "linux/arm64" {
		t.Errorf("hosts %+v", f.Hosts)
	}
	if v := f.Folders[""].Rules["updater"][0].Value["interval"]; v.Text() != "2h" {
		t.Errorf("interval %s", v.JSON)
	}
}

func TestFoldersHandDownLabels(t *testing.T) {
	f := loaded(t, repo(map[string]string{
		"hosts/l.cue":           "package hosts\ndefaults: labels: {os: \"debian\", team: \"ops\"}\n",
		"hosts/web/deep/h.cue":  "package deep\ndefaults: labels: team: \"web\"\nhosts: a: labels: x: \"y\"\n",
		"hosts/web/deep/h2.cue": "package deep\nhosts: b: {}\n",
	}))
	a, b := f.Hosts[0], f.Hosts[1]
	if a.Folder.Path != "web/deep" || a.Labels["os"] != "debian" || a.Labels["team"] != "web" || a.Labels["x"] != "y" {
		t.Errorf("a: %q %v", a.Folder.Path, a.Labels)
	}
	if len(b.Labels) != 2 {
		t.Errorf("b: %v", b.Labels)
	}
	if w := f.Folders["web"]; w == nil || w.Parent != f.Folders[""] {
		t.Errorf("the folder between has no place: %+v", w)
	}
}

func TestDefaultsOfASmallFleet(t *testing.T) {
	f := loaded(t, repo(nil))
	if f.Rollout.Enabled || len(f.Rollout.Rings) != 1 || f.Rollout.Rings[0].Name != "all" {
		t.Errorf("rollout %+v: want the master switch off and one ring", f.Rollout)
	}
	if f.Lifetimes != (fleet.Lifetimes{Timestamp: 7 * day, Snapshot: 30 * day, Targets: 365 * day, Root: 365 * day}) {
		t.Errorf("lifetimes %v", f.Lifetimes)
	}
	if f.Sites[fleet.CentralSite].URL != f.URL || f.AnchorVersion != 1 || f.Anchor() != nil {
		t.Errorf("sites %v, anchor %d", f.Sites, f.AnchorVersion)
	}
	if f.Keep != (fleet.Keep{Releases: 10}) {
		t.Errorf("keeps %+v", f.Keep)
	}
}

func TestTheTopFolderLoadsByItself(t *testing.T) {
	files := repo(map[string]string{"keep.cue": "package fleet\nkeep: releases: 3\n", "trust/1.root.json": `{"a":1}`,
		"hosts/web/r.cue": "package web\nthis does not even parse", "plugins/p/p.cue": "package p\nplugin: 1\n",
		"keys/k.cue": string(fleet.KeyFile(fleet.Key{Name: "ci", Public: testKey, Uses: []string{fleet.UsePackage}}))})
	f, err := LoadTop(t.Context(), files)
	if err != nil || f.Keep.Releases != 3 || len(f.Roots) != 1 || f.Keys["ci"] == nil {
		t.Errorf("%+v, %v", f, err)
	}
	for text, want := range map[string]string{
		"keep: releases: 0":                       "keep.cue:2:",
		"keep: releases: 99999999999999999999999": "keep.cue:2:7: keep: releases: 99999999999999999999999 is too large",
		"keep: relaeses: 3":                       "keep.cue:2:7",
	} {
		files["keep.cue"].Data = []byte("package fleet\n" + text + "\n")
		if _, err := LoadTop(t.Context(), files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSymbolicLinksAreNotFollowed(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "r.cue"), []byte("package hosts\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"hosts/r.cue", "hosts/web", "plugins", "plugins/x"} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, repo(nil)); err != nil {
			t.Fatal(err)
		}
		target := outside
		if strings.HasSuffix(link, ".cue") {
			target = filepath.Join(outside, "r.cue")
		}
		name := filepath.Join(dir, link)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		if got := refused(t, os.DirFS(dir)); !strings.Contains(got, link+": is ") {
			t.Errorf("%s: got\n%s", link, got)
		}
	}
}

func TestEvaluationThatExplodesNamesItsDirectory(t *testing.T) {
	// The goroutine left behind ends, and takes no memory: with a list that grew it would take the square of its
	// length, until all other tests have ended. How much explodes within a bound is a matter of the machine, so both
	// grow.
	bomb := func(n int) fs.FS {
		return repo(map[string]string{"hosts/bomb/h.cue": fmt.Sprintf("package bomb\nimport \"list\"\n"+
			"_n: list.Range(0, %d, 1)\n"+
			"hosts: {for i in [for a in _n for b in _n if a+b < 0 {a}] {\"h\\(i)\": {}}}\n", n)})
	}
	l := engine.DefaultLimits
	for l.Time = 50 * time.Millisecond; ; l.Time *= 2 {
		if _, err := load(t.Context(), bomb(1), nil, engine.New(l)); err == nil {
			break
		}
	}
	var err error
	for n := 100; err == nil && n < 10000; n *= 2 {
		_, err = load(t.Context(), bomb(n), nil, engine.New(l))
	}
	if err == nil || !strings.Contains(err.Error(), "hosts/bomb: evaluation takes longer than "+l.Time.String()) {
		t.Errorf("got %v", err)
	}
}

func TestLoadingStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Load(ctx, repo(nil), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAFolderWithoutAFleetIsNamed(t *testing.T) {
	_, err := Load(t.Context(), fstest.MapFS{}, nil)
	if err == nil || fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestCRLFIsALineEndLikeAnother(t *testing.T) {
	files := map[string]string{
		"plugins/p/plugin.cue": "package p\nplugin: {\n\tparams: level: int | *3\n\tfiles: \"/p\": content: \"\"\"\n" +
			"\t\t# settings\n\t\tLEVEL=\\(params.level)\n\n\t\t\"\"\"\n}\n",
		"hosts/p.cue": "package hosts\nrules: p: [{value: {}}]\n",
	}
	var outputs []*fleet.Output
	for range 2 {
		r := loaded(t, repo(files))
		out, err := r.Output(t.Context(), "p", fleet.Inputs{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, out)
		for name, text := range files {
			files[name] = strings.ReplaceAll(text, "\n", "\r\n")
		}
	}
	lf, crlf := outputs[0].Files[0], outputs[1].Files[0]
	if string(lf.Content) != "# settings\nLEVEL=3\n" || string(crlf.Content) != string(lf.Content) ||
		crlf.Pos != lf.Pos {
		t.Errorf("%q at %v, %q at %v", lf.Content, lf.Pos, crlf.Content, crlf.Pos)
	}
}
