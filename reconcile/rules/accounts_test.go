package rules

import (
	"strings"
	"testing"

	"bakehouse/schema/fleet"
)

// warned is what is warned of on a host with plugin p, and nothing else.
func warned(t *testing.T, out fleet.Output) (texts []string) {
	t.Helper()
	m := newModel()
	m.Plugins["p"] = &fleet.Plugin{Name: "p"}
	m.yields["p"] = func(fleet.Inputs, map[string]fleet.Value) fleet.Output { return out }
	m.Folders[""].Rules["p"] = []*fleet.Rule{{Pos: fleet.Pos{File: "hosts/r.cue", Line: 2, Col: 1}}}
	res, err := Resolve(t.Context(), m.Fleet, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range res.Warnings {
		texts = append(texts, w.Error()+" "+w.Hint)
	}
	return texts
}

func TestAUserThatNobodyMakesIsWarnedOfBeforeAHostRefusesThePackage(t *testing.T) {
	at := fleet.Pos{File: "plugins/p/plugin.cue", Line: 7, Col: 2}
	app := []fleet.User{{Name: "app", Home: "/"}}
	file := func(owner, group string) fleet.Output {
		return fleet.Output{Users: app, Files: []fleet.File{{Path: "/etc/x", Owner: owner, Group: group, Pos: at}}}
	}
	unit := func(s fleet.Service) fleet.Output {
		s.Name, s.Pos = "s", at
		return fleet.Output{Users: app, Services: []fleet.Service{s}}
	}
	for name, c := range map[string]struct {
		out  fleet.Output
		want string // empty: nothing
	}{
		"an owner": {file("nobodyx", ""),
			`plugin.cue:7:2: plugin p: owner of /etc/x: no plugin of the host makes the user "nobodyx"`},
		"which is near another": {file("nobodyx", ""), `did you mean "nobody"?`},
		"a group":               {file("", "grafana"), `makes the group "grafana"`},
		"a group's remedy":      {file("", "grafana"), "`groups: \"grafana\": …`"},
		"a service":             {unit(fleet.Service{User: "ap"}), `did you mean "app"?`},
		"a socket":              {unit(fleet.Service{ListenUser: "ap"}), "connect to service s"},
		"an interval": {fleet.Output{Users: app, Intervals: []fleet.Interval{{Name: "i", User: "ap"}}},
			"interval i"},
		"a user's group": {fleet.Output{Users: []fleet.User{{Name: "app", Home: "/", Groups: []string{"admm"}}}},
			`did you mean "adm"?`},
		"the plugin's own": {unit(fleet.Service{User: "app"}), ""},
		"its group":        {file("", "app"), ""},
		"a base system's":  {file("daemon", "nogroup"), ""},
		"a group it makes": {fleet.Output{Groups: []string{"g"},
			Files: []fleet.File{{Path: "/etc/x", Group: "g"}}}, ""},
		"root": {file("", ""), ""},
	} {
		got := warned(t, c.out)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAPrivateKeyThatEverybodyReadsIsWarnedOf(t *testing.T) {
	key := func(kind string) []byte { return []byte("# mine\n-----BEGIN " + kind + "PRIVATE KEY-----\nAA==\n") }
	for name, c := range map[string]struct {
		file fleet.File
		told bool
	}{
		"PKCS #8":        {fleet.File{Mode: 0o644, Content: key("")}, true},
		"an RSA key":     {fleet.File{Mode: 0o604, Content: key("RSA ")}, true},
		"OpenSSH's":      {fleet.File{Mode: 0o755, Content: key("OPENSSH ")}, true},
		"encrypted":      {fleet.File{Mode: 0o644, Content: key("ENCRYPTED ")}, false},
		"for its owner":  {fleet.File{Mode: 0o600, Content: key("")}, false},
		"for its group":  {fleet.File{Mode: 0o640, Content: key("EC ")}, false},
		"a certificate":  {fleet.File{Mode: 0o644, Content: []byte("-----BEGIN CERTIFICATE-----\n")}, false},
		"talk of a key":  {fleet.File{Mode: 0o644, Content: []byte("BEGIN PRIVATE KEY\n")}, false},
		"no content yet": {fleet.File{Mode: 0o644, Repo: "k"}, false},
	} {
		c.file.Path = "/etc/key.pem"
		got := warned(t, fleet.Output{Files: []fleet.File{c.file}})
		told := strings.Contains(strings.Join(got, "\n"), "private key in /etc/key.pem")
		if told != c.told || len(got) > 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
}
