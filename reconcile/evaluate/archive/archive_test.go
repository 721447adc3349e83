package archive

import (
	"bytes"
	"strings"
	"testing"

	"bakehouse/schema/fault"
)

func TestAMemberIsFoundInEveryKindOfArchive(t *testing.T) {
	big := strings.Repeat("a program\n", 50000)
	files := []made{{name: "./", kind: directory}, {name: "./usr/bin/", kind: directory},
		{name: "./usr/bin/x", content: big}, {name: "etc/x.conf", content: "a=1\n"}, {name: "empty"}}
	kinds := map[string]func([]byte) []byte{
		"tar": func(b []byte) []byte { return b },
		"deb": makeDeb,
	}
	all := map[string][]byte{"zip": makeZip(t, files...)}
	for how := range packings {
		for what, wrap := range kinds {
			all[what+" "+how] = wrap(pack(t, how, makeTar(t, files...)))
		}
		all["rpm "+how] = makeRPM(pack(t, how, makeCpio(cpioMember{name: "./usr/bin", mode: 0o40755},
			cpioMember{name: "./usr/bin/x", content: big, mode: 0o100755, links: 1},
			cpioMember{name: "./etc/x.conf", content: "a=1\n", mode: 0o100644, links: 1},
			cpioMember{name: "./empty", mode: 0o100644, links: 1})))
	}
	for what, b := range all {
		t.Run(what, func(t *testing.T) {
			for name, want := range map[string]string{"usr/bin/x": big, "./usr/bin/x": big, "/usr/bin/x": big,
				"etc/x.conf": "a=1\n", "empty": ""} {
				if got, err := take(t, b, name); err != nil || got != want {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			}
			table, err := Read(t.Context(), bytes.NewReader(b), int64(len(b)))
			if err != nil || table.Kind != strings.Fields(what)[0] {
				t.Errorf("taken for %q, %v", table.Kind, err)
			}
		})
	}
}

func TestALinkLeadsToAnotherMemberOrNowhere(t *testing.T) {
	b := makeTar(t,
		made{name: "opt/a-1.2/bin/a", content: "the program"},
		made{name: "opt/a", link: "a-1.2"},
		made{name: "usr/bin/a", link: "../../opt/a/bin/a"},
		made{name: "usr/bin/b", link: "/opt/a-1.2/bin/a"},
		made{name: "usr/bin/c", link: "opt/a-1.2/bin/a", kind: hardlink},
		made{name: "usr/bin/d", link: "d"},
		made{name: "usr/bin/e", link: "../../../etc/shadow"},
		made{name: "usr/bin/f", link: "../../opt"},
		made{name: "usr/bin/g", link: "gone"},
		made{name: "l1", link: "l2"}, made{name: "l2", link: "l1"},
		made{name: "lib", link: "usr/lib"}, made{name: "lib/x", content: "which?"},
	)
	for _, name := range []string{"usr/bin/a", "usr/bin/b", "usr/bin/c", "opt/a/bin/a"} {
		if got, err := take(t, b, name); err != nil || got != "the program" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"usr/bin/d": "does not end", "usr/bin/e": "leads out of the archive", "usr/bin/f": `"opt"`,
		"usr/bin/g": "which is not in the archive",
		"l1":        "does not end", "lib/x": `"lib" is a link`,
	} {
		if got, err := take(t, b, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %s", name, got, err, want)
		}
	}
}

func TestWhatIsMissingIsSaidWithWhatIsNear(t *testing.T) {
	b := makeTar(t, made{name: "usr/sbin/zabbix_agent2", content: "x"}, made{name: "usr/share/doc/zabbix-agent2/README"},
		made{name: "etc/zabbix/zabbix_agent2.conf"})
	_, err := take(t, b, "usr/bin/zabbix_agent2")
	if err == nil || !strings.Contains(err.Error(), `no member "usr/bin/zabbix_agent2"`) ||
		fault.HintOf(err) != `it has "usr/sbin/zabbix_agent2", "etc/zabbix/zabbix_agent2.conf"` {
		t.Errorf("%v; hint %s", err, fault.HintOf(err))
	}
	if _, err := take(t, b, "qqq"); err == nil || fault.HintOf(err) != "" {
		t.Errorf("nothing is near qqq: %v", fault.HintOf(err))
	}
}
