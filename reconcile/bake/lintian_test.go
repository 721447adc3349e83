package bake_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// What Debian's own check finds in a package, and why it stays.
var lintianAllows = map[string]string{
	"file-in-etc-not-marked-as-conffile": "settings belong to the repo: dpkg shall neither ask about them nor keep what was edited on the host",
	"statically-linked-binary":           "the host program is one for all of a platform's releases, with or without Debian's libraries",
	"uses-dpkg-database-directly":        "it takes dpkg's own lock, in whose place dpkg has nothing else",
	"maintainer-script-calls-systemctl":  "one script for all formats and releases; deb-systemd-helper is not there in all of them, nor debhelper in the baker",
	"no-manual-page":                     "of a plugin's program; that of the host program is there",
}

func TestLintianFindsNothingElse(t *testing.T) {
	needs.All(t, "runs lintian")
	program := needs.Tool(t, "lintian")
	rs, src, root := realFleet([]byte("#!/bin/sh\nexec sleep 1000\n"), hostProgram(t), 1, 0)
	rs[0].Outputs[0].Services[0].User = "node-exporter"
	rs[0].Outputs[0].Users = []fleet.User{{Name: "node-exporter", Home: "/nonexistent"}}
	st := newMemory()
	f := write(t, "bakehouse-agent_0.1.0_amd64.deb", bakeReal(t, st, src, rs[0], schema.Deb, root))
	cmd := exec.Command(program, "--allow-root", "--tag-display-limit", "0", "--fail-on", "none", f)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		m := regexp.MustCompile(`^[EW]: bakehouse-agent: ([a-z0-9.-]+)`).FindStringSubmatch(line)
		switch {
		case m == nil:
			t.Errorf("lintian says %s", line)
		case lintianAllows[m[1]] == "" || m[1] == "no-manual-page" && !strings.Contains(line, "node_exporter"):
			t.Error(line)
		default:
			seen[m[1]] = true
		}
	}
	for tag := range lintianAllows {
		if !seen[tag] {
			t.Errorf("lintian no longer finds %s", tag)
		}
	}
}
