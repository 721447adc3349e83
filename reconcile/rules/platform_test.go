package rules

import (
	"fmt"
	"strings"
	"testing"

	"bakehouse/schema"
)

func TestHostsWithoutAPackageAreWarnedOfAndKeepNobodyElseFromTheirs(t *testing.T) {
	pins := "package fleet\nprograms: \"linux/amd64\": {version: \"1.2.3\", sha256: \"sha256:" + strings.Repeat("ab", 32) + "\"}\n"
	for name, c := range map[string]struct{ hosts, rules, want string }{
		"a platform without a pinned program": {`c: platform: "linux/arm64"`, "", "fleet.cue: host c gets no package: no host program is pinned for linux/arm64"},
		"more hosts than are named": {`c: platform: "linux/s390x", d: platform: "linux/s390x", e: platform: "linux/s390x", f: platform: "linux/s390x", g: platform: "linux/s390x"`, "",
			"fleet.cue: hosts c, d, e and 2 more get no package: no host program is pinned for linux/s390x"},
		"a format that the platform has not": {`c: platform: "solaris/amd64"`, "", "hosts/more/h.cue:2:9: host c gets no package: format deb is not made for solaris/amd64"},
		"a platform without any format":      {`c: platform: "windows/amd64"`, "", "hosts/more/h.cue:2:9: host c gets no package: packages for windows/amd64 are not made yet"},
		"an architecture that no deb has":    {`c: platform: "linux/mips"`, "", "host c gets no package: format deb is not made for linux/mips"},
		"a file where macOS lets nobody write": {`c: {platform: "darwin/arm64", format: "tgz"}`, "rules: q: [{value: {}}]\n",
			"host c gets no package: plugin q has the file /usr/bin/q, where macOS lets nobody write"},
		"users where nobody makes them": {`c: {platform: "solaris/amd64", format: "tgz"}`, "rules: p: [{value: {}}]\n",
			"host c gets no package: plugin p makes users, which is done on Linux only"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := resolved(t, map[string]string{"programs.cue": pins, "hosts/r.cue": "package hosts\nrules: updater: [{value: {}}]\n",
				"plugins/p/plugin.cue": "package p\nplugin: users: u: {}\n",
				"plugins/q/plugin.cue": "package q\nplugin: files: \"/usr/bin/q\": content: \"\"\n",
				"hosts/more/h.cue":     "package more\nhosts: {" + c.hosts + "}\n" + c.rules})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(r.Warnings[:1]); !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if r.Warnings[0].Hint == "" {
				t.Error("nothing says what to do")
			}
			if r.Hosts["c"].Lacks == "" || r.Hosts["a"].Lacks != "" {
				t.Errorf("c lacks %q, a lacks %q", r.Hosts["c"].Lacks, r.Hosts["a"].Lacks)
			}
			for _, m := range r.Missing {
				if strings.Contains(m.Msg, "no package") {
					t.Errorf("it keeps all others from their packages: %v", m)
				}
			}
		})
	}
	t.Run("no package at all is an error of the fleet", func(t *testing.T) {
		r, err := resolved(t, map[string]string{"hosts/r.cue": "package hosts\nhosts: [string]: platform: \"solaris/amd64\"\n"})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Missing.Error(); !strings.Contains(got, "hosts a, b get no package: format deb is not made for solaris/amd64") || !strings.Contains(got, `set their format to "pkg" or "tgz"`) {
			t.Errorf("got\n%s", got)
		}
	})
	t.Run("a service that its manager has no word for", func(t *testing.T) {
		files := withPlugin()
		files["plugins/p/plugin.cue"] = "package p\nplugin: {\nservices: {plain: exec: \"/opt/p\", door: {exec: \"/opt/p\", listen: [\"80\"]}}\nintervals: i: {exec: \"/opt/p\", every: \"1m\"}\n}\n"
		files["hosts/more/h.cue"] = "package more\nhosts: c: {platform: \"solaris/amd64\", format: \"pkg\"}\nrules: p: [{value: {}}]\n"
		checkWarnings(t, files, "hosts/more/h.cue:2:8: packages for solaris/amd64 leave out the interval i of plugin p, on host c: intervals are not made for solaris")
		checkWarnings(t, files, "packages for solaris/amd64 leave out the service door of plugin p, on host c: what is started for each connection (listen) is not made for solaris")
	})
	t.Run("services that the platform does not start", func(t *testing.T) {
		files := withPlugin()
		files["hosts/more/h.cue"] = "package more\nhosts: c: {platform: \"aix/ppc64\", format: \"tgz\"}\nrules: p: [{value: {}}]\n"
		checkWarnings(t, files, "hosts/more/h.cue:2:8: packages for aix/ppc64 leave out services, on host c: they are made for systemd, launchd and SMF only")
	})
}

func TestPlatformsCountsHosts(t *testing.T) {
	r, err := resolved(t, map[string]string{"hosts/more/h.cue": "package more\nhosts: {c: platform: \"aix/ppc64\", d: {platform: \"linux/arm\", state: \"retired\"}}\n"})
	if err != nil {
		t.Fatal(err)
	}
	got := Platforms(r.Fleet)
	if len(got) != 2 || got[schema.Platform{OS: "linux", Arch: "amd64"}] != 2 || got[schema.Platform{OS: "aix", Arch: "ppc64"}] != 1 {
		t.Errorf("got %v", got)
	}
}
