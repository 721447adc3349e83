package evaluate

import (
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func TestEachPermissionIsAcceptedAndPassedOn(t *testing.T) {
	given := ""
	for _, name := range schema.PermissionNames() {
		given += name + ": [\"~web.*\", \"" + name + "\"]\n"
	}
	f := loaded(t, repo(map[string]string{
		"access.cue": "package fleet\nusers: ops: {hash: \"" + testHash + "\", permissions: {" + given + "}}\n"}))
	u := f.Access.Users["ops"]
	if u.Hash != testHash || len(u.Permissions) != len(schema.Permissions) {
		t.Errorf("%+v", u)
	}
	for _, name := range schema.PermissionNames() {
		if !u.Allows(name, "web01") || !u.Allows(name, name) || u.Allows(name, "xweb01") {
			t.Errorf("%s: %v", name, u.Permissions[name])
		}
	}
}

// What a transparency log will need is accepted already: see "Reserved" in ARCHITECTURE.md.
func TestWhatIsReservedForALogIsAccepted(t *testing.T) {
	key := fleet.Key{Name: "log", Public: testKey, Uses: []string{fleet.UseLog, fleet.UseWitness}}
	f := loaded(t, repo(map[string]string{
		"log.cue":      "package fleet\nlog: {url: \"https://log.example\", witnesses: [{name: \"w\", quorum: 2}]}\n",
		"keys/log.cue": string(fleet.KeyFile(key)),
	}))
	k := f.Keys["log"]
	if k == nil || !k.Has(fleet.UseLog) || !k.Has(fleet.UseWitness) || k.Has(fleet.UsePackage) {
		t.Errorf("%+v", k)
	}
	if info := f.Info(amd64); len(info.Keys) != 0 {
		t.Errorf("hosts would accept packages by %v", info.Keys)
	}
	got := refused(t, repo(map[string]string{"log.cue": "package fleet\nlog: 3\n"}))
	if !strings.Contains(got, "log.cue:2:6: log: 3 is an int") {
		t.Errorf("got\n%s", got)
	}
	if got := refused(t, repo(map[string]string{"keys/log.cue": string(fleet.KeyFile(key)),
		"keys/t.cue": "package keys\nthresholds: log: 1\n"})); !strings.Contains(got, "thresholds.log: unknown field") {
		t.Errorf("got\n%s", got)
	}
}

func TestASiteMayPassPasswordsOnlyIfItSaysSo(t *testing.T) {
	f := loaded(t, repo(map[string]string{"sites/s.cue": "package sites\nsites: {a: url: \"https://a\"\n" +
		"b: {url: \"https://b\", passwords: true}\nc: {url: \"https://c\", passwords: false}}\n"}))
	for name, want := range map[string]bool{fleet.CentralSite: true, "a": false, "b": true, "c": false} {
		if got := f.Sites[name].Passwords; got != want {
			t.Errorf("site %s: passwords %v", name, got)
		}
	}
	if got := refused(t, repo(map[string]string{
		"sites/s.cue": "package sites\nsites: a: {url: \"https://a\",\n\tpasswords: \"no\"}\n",
	})); !strings.Contains(got, "sites/s.cue:3:13: sites.a.passwords: \"no\" is a string, not a bool") {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatASiteThatPassesPasswordsGivesAwayIsWarnedOf(t *testing.T) {
	f := loaded(t, repo(map[string]string{"sites/s.cue": "package sites\nsites: {a: {url: \"https://a\",\n" +
		"\tpasswords: true}\nb: {url: \"http://b\", passwords: false}}\n"}))
	got := f.Warnings.Error()
	for _, want := range []string{"sites/s.cue:3:2: whoever runs site a can read the passwords", "join token",
		"sites/s.cue:4:5: http://b: hosts send their secrets"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "site b can read") {
		t.Errorf("got\n%s", got)
	}
}

func TestASiteHasTheFleetsAuthoritiesUnlessItSaysOtherwise(t *testing.T) {
	ca, _ := pair(t, "PRIVATE KEY", pkcs8)
	f := loaded(t, repo(map[string]string{"ca.cue": "package fleet\ncertificates: [" + ca + "]\n",
		"sites/s.cue": "package sites\nsites: {a: url: \"https://a\"\nb: {url: \"https://b\", certificates: []}}\n"}))
	for name, want := range map[string]bool{fleet.CentralSite: true, "a": true, "b": false} {
		if got := f.Sites[name].Certificates != ""; got != want {
			t.Errorf("site %s: has certificates: %v", name, got)
		}
	}
}
