package evaluate

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// FuzzLoad gives the loader hostile files at the places where a pull request could put them. Whatever they hold, it
// ends in time, with a fleet or with problems that stand in the repo, and a fleet's names are fit for paths.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "package x", "package hosts\nhosts: a: {platform: \"linux/amd64\", format: \"deb\"}",
		"package x\nrules: updater: [{when: {hosts: [\"~(a|b)*\"], labels: a: {not: [\"b\"]}}, value: interval: \"1h\"}]",
		"package x\nrules: updater: [{when: {any: [{not: condition: \"c\"}, {all: []}]}, disabled: true, owner: \"o\", " +
			"value: {}}]\nhosts: h: {state: \"retired\", was: [\"g\", \"h\"]}",
		"package x\nconditions: c: {hosts: [\"~a\"], not: any: [{condition: \"c\"}]}\nrollout: select: condition: not: " +
			"[\"c\"]",
		"package x\nplugin: {combine: \"append\", params: {a: [...string]}, files: \"/x\": source: {url: \"https://e/x\", " +
			"sha256: params.a[0]}}",
		"package x\nplugin: {params: m: string, files: \"/x\": source: {archive: \"/more.cue\", member: params.m}, files: " +
			"\"/y\": source: {url: \"https://e/x\", member: \"../x\"}}",
		"package x\na: b\nb: a", "package x\na: {b: a}", "package x\nx: x + 1",
		"package x\nimport \"strings\"\nhosts: (strings.Repeat(\"a\", 300)): {}",
		"package x\n#d: {a?: #d}\nhosts: h: #d", "package x\nhosts: {[string]: address: \"x\"}\nhosts: \"a\": {}",
		"package x\nhosts: \"../../etc/passwd\": {}",
		"package x\nplugin: files: \"/\\u0000\": content: '\\xff'",
		"package x\nplugin: {params: {a: 1 | 2}, files: \"/x\": content: \"\\(params.a)\"}",
		"package x\nname: \"a\"\nurl: \"https://x\"\nrollout: rings: [{name: \"a\", when: hosts: []}]",
		"@extern(embed)\npackage x\na: _ @embed(file=fleet.cue)",
		"package x\nplugin: params: {l: [...{b: int | *1}]}", "\xff\xfe", "package x\n" + strings.Repeat("{", 200),
		"package x\nlet a = [for i in [1,2] {i}]\nhosts: h: address: \"\\(a)\"",
		"package keys\nkeys: k: {public: \"-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----\", uses: [\"root\"]}",
	} {
		f.Add(seed, seed)
	}
	l := engine.Limits{Time: 5 * time.Second, Memory: 2 << 30, Nodes: 10000, Uses: 100}
	f.Fuzz(func(t *testing.T, a, b string) {
		m := repo(map[string]string{"hosts/web/r.cue": a, "plugins/p/plugin.cue": b, "hosts/own.cue": b})
		for _, name := range []string{"more.cue", "keys/k.cue", "sites/s.cue"} {
			m[name] = &fstest.MapFile{Data: []byte(a)}
		}
		checkLoad(t, m, l)
		checkLoad(t, repo(map[string]string{"hosts/web/r.cue": a, "plugins/p/plugin.cue": b}), l)
	})
}

func checkLoad(t *testing.T, fsys fs.FS, l engine.Limits) {
	t.Helper()
	r, err := load(t.Context(), fsys, nil, engine.New(l))
	var ps fleet.Problems
	if err != nil && !errors.As(err, &ps) {
		t.Fatalf("an error that is no problem of the repo: %v", err)
	}
	for _, p := range ps {
		if p.Msg == "" || p.Pos.File == "" {
			t.Errorf("a problem without a place: %+v", p)
		}
		if strings.Contains(p.Msg, "CUE fails on it") {
			t.Logf("CUE: %v", p)
		}
	}
	if err != nil {
		return
	}
	for _, h := range r.Hosts {
		if schema.CheckHostName(h.Name) != nil {
			t.Errorf("host %q", h.Name)
		}
	}
	if p := r.Plugins["p"]; p != nil {
		out, err := r.Output(t.Context(), "p", fleet.Inputs{Platform: amd64,
			Host: map[string]string{"name": "h", "address": "", "folder": ""}, Fleet: r.Info(amd64)}, nil)
		if err != nil {
			return
		}
		for _, file := range out.Files {
			if !path.IsAbs(file.Path) || path.Clean(file.Path) != file.Path || strings.ContainsAny(file.Path, "\n\x00") {
				t.Errorf("path %q", file.Path)
			}
			if file.Regular() != (file.Content != nil || file.Repo != "" || file.URL != "" || file.Program) {
				t.Errorf("file %+v", file)
			}
			if file.Member != "" && (file.Repo == "") == (file.URL == "") || file.ByProvenance() == file.Archive.IsZero() {
				t.Errorf("file %+v", file)
			}
		}
		for _, s := range out.Services {
			if strings.ContainsAny(s.Exec+s.Description+s.User+s.EnvironmentFile+s.Name, "\n\r\x00") {
				t.Errorf("service %+v", s)
			}
		}
	}
}
